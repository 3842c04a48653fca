#include <fmt/format.h>

#include <algorithm>

#include "arguments.h"
#include "filters.h"
#include "format.h"
#include "methods.h"
#include "operators.h"
#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {
namespace {

constexpr int64_t kWidestIndent = 100'000;

/// soft_str: what escape made stays marked.
template <JinjaValue (*kFunction)(JinjaInterpreter&, const JinjaValue&)>
JinjaValue of_text(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"s"};
  const JinjaBound given = bind_named(in, "the filter", arguments, kParameters, 1);
  return kFunction(in, to_str(in, given[0])).with_markup(given[0].is_markup());
}

JinjaValue trim(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "chars"};
  const JinjaBound given = bind_named(in, "trim", arguments, kParameters, 1);
  return stripped(in, to_str(in, given[0]), given.find(1), true, true).with_markup(given[0].is_markup());
}

JinjaValue same_text(JinjaInterpreter&, const JinjaValue& string) { return string; }

/// Words start behind white space and some brackets, as jinja2 has it.
JinjaValue title(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"s"};
  const JinjaValue string = to_str(in, bind_named(in, "title", arguments, kParameters, 1)[0]);
  const std::string_view text = text_of(string);
  in.charge_bytes(4 * text.size());
  if (text.find("\u03A3") != std::string_view::npos) in.refuse("the lower case of a capital sigma");
  JinjaText out;
  bool start = true, same_sizes = true;
  for (size_t i = 0; i < text.size();) {
    const size_t size = utf8_size(text, i), before = out.text.size();
    const uint32_t c = code_point_at(text, i);
    const bool breaks = is_python_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    if (start) {
      append_upper(out.text, c);
    } else {
      append_lower(out.text, c);
    }
    start = breaks;
    same_sizes = same_sizes && out.text.size() - before == size;
    i += size;
  }
  if (same_sizes) out.segments = as<JinjaString>(string).segments;
  return out.take();
}

JinjaValue replace(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"s", "old", "new", "count"};
  const JinjaBound given = bind_named(in, "replace", arguments, kParameters, 3);
  const bool has_count = given.has(3) && given[3].kind() != JinjaKind::kNone;
  return replaced(in, to_str(in, given[0]), to_str(in, given[1]), to_str(in, given[2]),
                  has_count ? given.integer(in, 3, -1) : -1);
}

JinjaValue center(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "width"};
  const JinjaBound given = bind_named(in, "center", arguments, kParameters, 1);
  return centered(in, to_str(in, given[0]), given.integer(in, 1, 80), " ").with_markup(given[0].is_markup());
}

JinjaValue indent(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"s", "width", "first", "blank"};
  const JinjaBound given = bind_named(in, "indent", arguments, kParameters, 1);
  if (given[0].is_undefined()) fail_undefined(in, given[0]);
  if (given[0].is_markup()) in.refuse("indent of the result of safe or escape");
  const JinjaString& string = as<JinjaString>(given.string(in, 0));
  const bool is_text = given.has(1) && given[1].is_string();
  const int64_t width = is_text ? 0 : given.integer(in, 1, 4);
  if (width > kWidestIndent) in.fail(JinjaFault::kLimit, "an indent that is too wide");
  const std::string spaces =
      is_text ? std::string(text_of(given[1])) : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  JinjaText out;
  std::vector<TextLine> lines = text_lines(string.text);
  // jinja2 adds a line end before it splits, so that a last empty line counts
  if (lines.empty() || lines.back().next != lines.back().end)
    lines.push_back({string.text.size(), string.text.size(), 0});
  for (size_t i = 0; i < lines.size(); ++i) {
    const TextLine& line = lines[i];
    const bool is_empty = line.begin == line.end;
    in.charge_bytes(spaces.size() + (line.end - line.begin) + 1);
    in.charge(static_cast<int64_t>(string.segments.size()));
    if (i > 0) out.append("\n");
    if (i == 0 ? given.flag(2) : given.flag(3) || !is_empty) out.append(spaces);
    out.append(string, line.begin, line.end);
  }
  return out.take();
}

JinjaValue tojson(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"x", "ensure_ascii", "indent", "separators", "sort_keys"};
  const JinjaBound given = bind_named(in, "tojson", arguments, kParameters, 1);
  JsonStyle style{.ascii_only = given.flag(1), .sort_keys = given.flag(4)};
  if (given.has(2) && given[2].kind() != JinjaKind::kNone) {
    style.has_indent = true;
    style.item_separator = ",";
    if (given[2].is_string()) {
      style.indent = text_of(given[2]);
    } else {
      const int64_t width = given.integer(in, 2, 0);
      if (width > kWidestIndent) in.fail(JinjaFault::kLimit, "an indent that is too wide");
      style.indent = std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    }
  }
  if (given.has(3) && given[3].kind() != JinjaKind::kNone) {
    const std::vector<JinjaValue> parts = to_items(in, given[3]);
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string())
      in.fail("tojson expects two strings as separators");
    style.item_separator = text_of(parts[0]);
    style.key_separator = text_of(parts[1]);
  }
  return to_json(in, given[0], style);
}

JinjaValue safe(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value"};
  return to_str(in, bind_named(in, "safe", arguments, kParameters, 1)[0]).with_markup(true);
}

JinjaValue escape(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"s"};
  return escaped_markup(in, bind_named(in, "escape", arguments, kParameters, 1)[0]);
}

JinjaValue format(JinjaInterpreter& in, JinjaArguments& arguments) {
  if (!arguments.named.empty()) in.refuse("format with named arguments");
  if (arguments.values[0].is_markup()) in.refuse("format of the result of safe or escape");
  const JinjaValue string = to_str(in, arguments.values[0]);
  return percent_format(in, string, in.make_tuple({arguments.values.begin() + 1, arguments.values.end()}));
}

JinjaValue join(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"value", "d", "attribute"};
  const JinjaBound given = bind_named(in, "join", arguments, kParameters, 1);
  const JinjaValue separator = given.has(1) ? to_str(in, given[1]) : make_text("");
  std::vector<JinjaValue> strings;
  for (const JinjaValue& item : to_items(in, given[0]))
    strings.push_back(to_str(in, given.has(2) ? path_of(in, item, given[2]) : item));
  return joined_with(in, separator, strings);
}

JinjaValue truncate(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"s", "length", "killwords", "end", "leeway"};
  const JinjaBound given = bind_named(in, "truncate", arguments, kParameters, 1);
  const JinjaValue end = given.has(3) ? given.string(in, 3) : make_text("...");
  const int64_t length = given.integer(in, 1, 255), end_length = *length_of(in, end);
  const int64_t leeway = given.has(4) && given[4].kind() != JinjaKind::kNone ? given.integer(in, 4, 5) : 5;
  if (length < end_length || leeway < 0) in.fail("truncate expects a length of at least that of its end");
  const JinjaValue& string = given[0];
  const auto size = length_of(in, string);
  if (!size) in.fail(fmt::format("truncate of a {}", type_name(string)));
  if (*size <= length + std::min<int64_t>(leeway, INT64_MAX - length)) return string;
  if (!string.is_string() || string.is_markup()) in.refuse("truncate of this value");
  const JinjaValue head =
      slice_of(in, string, JinjaValue::none(), JinjaValue::integer(length - end_length), JinjaValue::none());
  const size_t space = given.flag(2) ? std::string_view::npos : text_of(head).rfind(' ');
  const JinjaValue cut = space == std::string_view::npos ? head : make_slice(head, 0, space);
  return binary(in, JinjaOperator::kAdd, cut, end);
}

}  // namespace

JinjaValue escaped_markup(JinjaInterpreter& in, const JinjaValue& value) {
  if (value.is_markup()) return value;
  const JinjaValue plain = to_str(in, value);
  const JinjaString& string = as<JinjaString>(plain);
  in.charge_bytes(string.text.size());
  JinjaText out;
  size_t begin = 0;
  for (size_t i = 0; i <= string.text.size(); ++i) {
    const char c = i < string.text.size() ? string.text[i] : '\0';
    const char* with = c == '&'    ? "&amp;"
                       : c == '<'  ? "&lt;"
                       : c == '>'  ? "&gt;"
                       : c == '\'' ? "&#39;"
                       : c == '"'  ? "&#34;"
                                   : nullptr;
    if (!with && i < string.text.size()) continue;
    in.charge_bytes(string.segments.size() / 8 + 5);
    if (i > begin) out.append(string, begin, i);
    if (with) out.append(with);
    begin = i + 1;
  }
  return out.take().with_markup(true);
}

const std::vector<JinjaFilterEntry>& text_filters() {
  static const std::vector<JinjaFilterEntry> filters = {
      {"capitalize", of_text<capitalized>},
      {"center", center},
      {"e", escape},
      {"escape", escape},
      {"format", format},
      {"indent", indent},
      {"join", join},
      {"lower", of_text<lowercased>},
      {"replace", replace},
      {"safe", safe},
      {"string", of_text<same_text>},
      {"title", title},
      {"tojson", tojson},
      {"trim", trim},
      {"truncate", truncate},
      {"upper", of_text<uppercased>},
  };
  return filters;
}

}  // namespace qtune
