#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "arguments.h"
#include "format.h"
#include "methods.h"
#include "operators.h"
#include "qtune/jinja/python_text.h"
#include "sequences.h"

namespace qtune {

namespace {

void require_ascii(JinjaInterpreter& in, std::string_view text, std::string_view what) {
  in.charge(static_cast<int64_t>(text.size() / 32));
  if (!is_ascii(text)) in.refuse(fmt::format("{} of text beyond ASCII", what));
}

template <class Map>
JinjaValue mapped(JinjaInterpreter& in, const JinjaValue& string, Map append) {
  const JinjaString& from = as<JinjaString>(string);
  in.charge_bytes(4 * from.text.size());
  JinjaText out;
  bool same_sizes = true;
  for (size_t i = 0; i < from.text.size();) {
    const size_t size = utf8_size(from.text, i), before = out.text.size();
    append(out.text, code_point_at(from.text, i), i == 0);
    same_sizes = same_sizes && out.text.size() - before == size;
    i += size;
  }
  if (same_sizes) out.segments = from.segments;  // byte for byte
  return out.take();
}

void refuse_sigma(JinjaInterpreter& in, std::string_view text) {
  if (text.find("\u03A3") != std::string_view::npos) in.refuse("the lower case of a capital sigma");
}

}  // namespace

JinjaValue uppercased(JinjaInterpreter& in, const JinjaValue& string) {
  return mapped(in, string, [](std::string& out, uint32_t c, bool) { append_upper(out, c); });
}

JinjaValue lowercased(JinjaInterpreter& in, const JinjaValue& string) {
  refuse_sigma(in, text_of(string));
  return mapped(in, string, [](std::string& out, uint32_t c, bool) { append_lower(out, c); });
}

JinjaValue capitalized(JinjaInterpreter& in, const JinjaValue& string) {
  const std::string_view text = text_of(string);
  if (!text.empty() && static_cast<unsigned char>(text[0]) >= 0x80) {
    const uint32_t first = code_point_at(text, 0);
    std::string upper;
    append_upper(upper, first);
    const bool plain = num_characters(upper) == 1 && !(first >= 0x1C4 && first <= 0x1CC) &&
                       !(first >= 0x1F1 && first <= 0x1F3) && !(first >= 0x10D0 && first <= 0x10FF);
    if (!plain) in.refuse("the title case of this character");
  }
  refuse_sigma(in, text.substr(text.empty() ? 0 : utf8_size(text, 0)));
  return mapped(in, string, [](std::string& out, uint32_t c, bool first) {
    if (first) {
      append_upper(out, c);
    } else {
      append_lower(out, c);
    }
  });
}

JinjaValue stripped(JinjaInterpreter& in, const JinjaValue& string, const JinjaValue* characters, bool left,
                    bool right) {
  const std::string_view text = text_of(string);
  in.charge_bytes(text.size());
  size_t begin = 0, end = text.size();
  if (!characters || characters->kind() == JinjaKind::kNone) {
    if (left) begin = space_prefix(text);
    if (right) end -= space_suffix(text.substr(begin));
    return make_slice(string, begin, end);
  }
  if (!characters->is_string())
    in.fail(fmt::format("strip expects a string or None, found a {}", type_name(*characters)));
  const std::string_view list = text_of(*characters);
  std::set<std::string_view> set;
  for (size_t i = 0; i < list.size(); i += utf8_size(list, i)) {
    in.charge(1);
    set.insert(list.substr(i, utf8_size(list, i)));
  }
  while (left && begin < end && set.contains(text.substr(begin, utf8_size(text, begin))))
    begin += utf8_size(text, begin);
  while (right && begin < end) {
    size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
    if (!set.contains(text.substr(last, end - last))) break;
    end = last;
  }
  return make_slice(string, begin, end);
}

JinjaValue replaced(JinjaInterpreter& in, const JinjaValue& string, const JinjaValue& old, const JinjaValue& with,
                    int64_t count) {
  const JinjaString& from = as<JinjaString>(string);
  const std::string_view text = from.text, part = text_of(old);
  const JinjaString& insert = as<JinjaString>(with);
  in.charge_bytes(text.size());
  JinjaText out;
  size_t at = 0;
  const auto copy = [&](size_t end) {
    in.charge(1 + static_cast<int64_t>(from.segments.size()));
    out.append(from, at, end);
    at = end;
  };
  const auto put = [&] {
    in.charge_bytes(insert.text.size() + 1 + insert.segments.size() * sizeof(JinjaSegment));
    out.append(insert);
  };
  for (int64_t done = 0; count < 0 || done < count; ++done) {
    if (part.empty()) {
      if (done > 0) {
        if (at >= text.size()) break;
        copy(at + utf8_size(text, at));
      }
      put();
      continue;
    }
    const size_t found = find_text(text, part, at);
    if (found == std::string_view::npos) {
      if (done == 0) return make_slice(string, 0, text.size());
      break;
    }
    if (found > at) copy(found);
    put();
    at = found + part.size();
  }
  if (at < text.size()) copy(text.size());
  return out.take();
}

JinjaValue joined_with(JinjaInterpreter& in, const JinjaValue& separator, const std::vector<JinjaValue>& strings) {
  JinjaText out;
  for (size_t i = 0; i < strings.size(); ++i) {
    if (i > 0) append_str(in, out, separator);
    if (!strings[i].is_string()) in.fail(fmt::format("join expects strings, found a {}", type_name(strings[i])));
    append_str(in, out, strings[i]);
  }
  return out.take();
}

bool is_lowercase(JinjaInterpreter& in, std::string_view text) {
  require_ascii(in, text, "islower");
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; }) &&
         std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_uppercase(JinjaInterpreter& in, std::string_view text) {
  require_ascii(in, text, "isupper");
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; }) &&
         std::none_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

namespace {

/// Padding on both sides; `left` and `right` in characters.
JinjaValue padded(JinjaInterpreter& in, const JinjaValue& string, int64_t left, int64_t right, std::string_view fill) {
  in.charge_bytes(static_cast<size_t>(left + right) * fill.size() + text_of(string).size());
  JinjaText out;
  for (int64_t i = 0; i < left; ++i) out.append(fill);
  out.append(as<JinjaString>(string));
  for (int64_t i = 0; i < right; ++i) out.append(fill);
  return out.take();
}

/// Missing characters up to `width`, bounded so that sums don't overflow.
int64_t missing(JinjaInterpreter& in, const JinjaValue& string, int64_t width) {
  if (width > (int64_t{1} << 40)) in.fail(JinjaFault::kLimit, "a text that is too wide");
  return std::max<int64_t>(0, width - static_cast<int64_t>(num_characters(text_of(string))));
}

std::string_view fill_of(JinjaInterpreter& in, const JinjaBound& given) {
  if (!given.has(1)) return " ";
  const std::string_view fill = text_of(given.string(in, 1));
  if (num_characters(fill) != 1) in.fail("expected one character to fill with");
  return fill;
}

template <bool kLeft, bool kRight>
JinjaValue strip(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "strip", arguments, 0, 1);
  return stripped(in, self, given.find(0), kLeft, kRight);
}

template <JinjaValue (*kFunction)(JinjaInterpreter&, const JinjaValue&)>
JinjaValue plain(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  bind_positional(in, "the method", arguments, 0, 0);
  return kFunction(in, self);
}

JinjaValue titled(JinjaInterpreter& in, const JinjaValue& self) {
  require_ascii(in, text_of(self), "title");
  bool inside = false;
  return mapped(in, self, [&](std::string& out, uint32_t c, bool) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (inside) {
      append_lower(out, c);
    } else {
      append_upper(out, c);
    }
    inside = letter;
  });
}

JinjaValue swapped(JinjaInterpreter& in, const JinjaValue& self) {
  require_ascii(in, text_of(self), "swapcase");
  return mapped(in, self, [](std::string& out, uint32_t c, bool) {
    if (c >= 'a' && c <= 'z') {
      append_upper(out, c);
    } else {
      append_lower(out, c);
    }
  });
}

JinjaValue center(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "center", arguments, 1, 2);
  return centered(in, self, given.integer(in, 0, 0), fill_of(in, given));
}

template <bool kLeft>
JinjaValue justify(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "ljust, rjust", arguments, 1, 2);
  const int64_t count = missing(in, self, given.integer(in, 0, 0));
  return padded(in, self, kLeft ? 0 : count, kLeft ? count : 0, fill_of(in, given));
}

JinjaValue zfill(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "zfill", arguments, 1, 1);
  const int64_t count = missing(in, self, given.integer(in, 0, 0));
  const std::string_view text = text_of(self);
  if (text.empty() || (text[0] != '+' && text[0] != '-')) return padded(in, self, count, 0, "0");
  in.charge_bytes(static_cast<size_t>(count) + text.size());
  JinjaText out;
  out.append(as<JinjaString>(self), 0, 1);
  out.append(std::string(static_cast<size_t>(count), '0'));
  out.append(as<JinjaString>(self), 1, text.size());
  return out.take();
}

JinjaValue join(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "join", arguments, 1, 1);
  return joined_with(in, self, to_items(in, given[0]));
}

JinjaValue replace(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "replace", arguments, 2, 3);
  return replaced(in, self, given.string(in, 0), given.string(in, 1), given.integer(in, 2, -1));
}

JinjaValue format(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  return brace_format(in, self, arguments);
}

/// str.isXXX: every character fits, and there is one.
template <bool (*kFits)(unsigned char)>
JinjaValue every(JinjaInterpreter& in, const JinjaValue& self, JinjaArguments& arguments) {
  bind_positional(in, "the method", arguments, 0, 0);
  const std::string_view text = text_of(self);
  require_ascii(in, text, "a test of the characters");
  return JinjaValue::boolean(!text.empty() && std::all_of(text.begin(), text.end(),
                                                          [](char c) { return kFits(static_cast<unsigned char>(c)); }));
}

bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
bool is_alpha(unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_alnum(unsigned char c) { return is_digit(c) || is_alpha(c); }

JinjaValue is_space(JinjaInterpreter& in, const JinjaValue& self) {
  const std::string_view text = text_of(self);
  in.charge(static_cast<int64_t>(text.size() / 32));
  return JinjaValue::boolean(!text.empty() && space_prefix(text) == text.size());
}

JinjaValue is_ascii_text(JinjaInterpreter&, const JinjaValue& self) {
  return JinjaValue::boolean(is_ascii(text_of(self)));
}

JinjaValue is_printable_text(JinjaInterpreter& in, const JinjaValue& self) {
  const std::string_view text = text_of(self);
  require_ascii(in, text, "isprintable");
  return JinjaValue::boolean(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; }));
}

JinjaValue is_lower(JinjaInterpreter& in, const JinjaValue& self) {
  return JinjaValue::boolean(is_lowercase(in, text_of(self)));
}
JinjaValue is_upper(JinjaInterpreter& in, const JinjaValue& self) {
  return JinjaValue::boolean(is_uppercase(in, text_of(self)));
}

}  // namespace

JinjaValue centered(JinjaInterpreter& in, const JinjaValue& string, int64_t width, std::string_view fill) {
  const int64_t count = missing(in, string, width);
  const int64_t left = count / 2 + (count & width & 1);
  return padded(in, string, left, count - left, fill);
}

const std::vector<JinjaMethodEntry>& string_methods() {
  constexpr JinjaKind kStr = JinjaKind::kString;
  static const std::vector<JinjaMethodEntry> methods = {
      {kStr, "strip", strip<true, true>},
      {kStr, "lstrip", strip<true, false>},
      {kStr, "rstrip", strip<false, true>},
      {kStr, "upper", plain<uppercased>},
      {kStr, "lower", plain<lowercased>},
      {kStr, "title", plain<titled>},
      {kStr, "capitalize", plain<capitalized>},
      {kStr, "swapcase", plain<swapped>},
      {kStr, "center", center},
      {kStr, "ljust", justify<true>},
      {kStr, "rjust", justify<false>},
      {kStr, "zfill", zfill},
      {kStr, "join", join},
      {kStr, "replace", replace},
      {kStr, "format", format},
      {kStr, "isdigit", every<is_digit>},
      {kStr, "isdecimal", every<is_digit>},
      {kStr, "isnumeric", every<is_digit>},
      {kStr, "isalpha", every<is_alpha>},
      {kStr, "isalnum", every<is_alnum>},
      {kStr, "isspace", plain<is_space>},
      {kStr, "isascii", plain<is_ascii_text>},
      {kStr, "isprintable", plain<is_printable_text>},
      {kStr, "islower", plain<is_lower>},
      {kStr, "isupper", plain<is_upper>},
  };
  return methods;
}

}  // namespace qtune
