#include "functions.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

#include "arguments.h"
#include "operators.h"
#include "sequences.h"

namespace qtune {
namespace {

enum FunctionId { kRange, kDict, kNamespace, kRaiseException, kStrftimeNow };

constexpr std::string_view kNames[] = {"range", "dict", "namespace", "raise_exception", "strftime_now"};

JinjaValue range(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaBound given = bind_positional(in, "range", arguments, 1, 3);
  const int64_t first = given.integer(in, 0, 0);
  return given.has(1) ? make_range(in, first, given.integer(in, 1, 0), given.integer(in, 2, 1))
                      : make_range(in, 0, first, 1);
}

/// The entries that Python's dict(...) takes from its arguments.
std::vector<std::pair<JinjaValue, JinjaValue>> dict_entries(JinjaInterpreter& in, JinjaArguments& arguments) {
  if (arguments.values.size() > 1) in.fail("dict takes at most 1 argument without name");
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  if (!arguments.values.empty()) {
    const JinjaValue& from = arguments.values[0];
    if (from.is_undefined()) in.fail("dict of an undefined value");
    if (from.kind() == JinjaKind::kDict) {
      entries = as<JinjaDict>(from).entries;
    } else {
      for (const JinjaValue& pair : to_items(in, from)) {
        const std::vector<JinjaValue> parts = to_items(in, pair);
        if (parts.size() != 2) in.fail("dict expects pairs of key and value");
        entries.emplace_back(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : arguments.named) entries.emplace_back(make_text(name), value);
  return entries;
}

JinjaValue make_namespace(JinjaInterpreter& in, JinjaArguments& arguments) {
  const JinjaValue dict = in.make_dict(dict_entries(in, arguments));
  JinjaValue made = in.make_namespace();
  for (const auto& [key, value] : as<JinjaDict>(dict).entries) {
    if (!key.is_string()) in.refuse("a namespace with keys that are no strings");
    const std::string_view name = text_of(key);
    if (name.starts_with('_')) in.fail("a namespace's attribute can't start with an underscore");
    as<JinjaNamespace>(made).attributes.emplace_back(std::string(name), value);
  }
  return made;
}

JinjaValue raise_exception(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"message"};
  const JinjaBound given = bind_named(in, "raise_exception", arguments, kParameters, 1);
  const JinjaValue message = to_str(in, given[0]);
  in.fail(JinjaFault::kRaised, std::string(text_of(message)));
}

/// Python gives these to the C library changed: naive times have no zone.
std::string python_format(std::string_view format, int64_t microseconds) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 >= format.size()) {
      out += format[i];
      continue;
    }
    const char c = format[++i];
    if (c == 'f') {
      out += fmt::format("{:06}", microseconds);
    } else if (c != 'z' && c != 'Z') {
      out += '%';
      out += c;
    }
  }
  return out;
}

JinjaValue strftime_now(JinjaInterpreter& in, JinjaArguments& arguments) {
  constexpr std::string_view kParameters[] = {"format"};
  const JinjaBound given = bind_named(in, "strftime_now", arguments, kParameters, 1);
  const std::string_view format = text_of(given.string(in, 0));
  if (format.size() > 1000) in.fail(JinjaFault::kLimit, "a date format of more than 1000 bytes");
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const int64_t micros =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() % 1'000'000;
  std::tm local{};
  localtime_r(&seconds, &local);
  char text[8192];
  const size_t size = std::strftime(text, sizeof text, python_format(format, micros).c_str(), &local);
  return make_text(std::string_view(text, size));
}

}  // namespace

JinjaValue jinja_global(const std::string& name) {
  for (int id = 0; id < static_cast<int>(std::size(kNames)); ++id) {
    if (kNames[id] == name) return JinjaValue::function(id);
  }
  return {};
}

JinjaValue call_jinja_function(JinjaInterpreter& in, int id, JinjaArguments& arguments) {
  switch (id) {
    case kRange:
      return range(in, arguments);
    case kDict:
      return in.make_dict(dict_entries(in, arguments));
    case kNamespace:
      return make_namespace(in, arguments);
    case kRaiseException:
      return raise_exception(in, arguments);
    default:
      return strftime_now(in, arguments);
  }
}

}  // namespace qtune
