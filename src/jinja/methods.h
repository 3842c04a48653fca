// Methods of strings, lists and dicts.
#pragma once

#include <string>
#include <string_view>

#include "interpreter.h"

namespace qtune {

enum class JinjaMethodStatus {
  kNone,  // Python has no such attribute
  kKnown,
  kUnsafe,   // jinja2's sandbox does not give it out
  kRefused,  // Python has it, this subset has not
};

struct JinjaMethodFound {
  JinjaMethodStatus status = JinjaMethodStatus::kNone;
  int id = -1;
};

JinjaMethodFound find_method(JinjaKind kind, std::string_view name);
/// A name that is a method in Python of some type and never one here.
bool is_refused_method(std::string_view name);
JinjaValue call_method(JinjaInterpreter& in, const JinjaMethod& method, JinjaArguments& arguments);

using JinjaMethodFunction = JinjaValue (*)(JinjaInterpreter&, const JinjaValue& self, JinjaArguments&);
struct JinjaMethodEntry {
  JinjaKind kind;
  std::string_view name;
  JinjaMethodFunction function;
};
/// string_methods.cpp, string_search.cpp, container_methods.cpp
const std::vector<JinjaMethodEntry>& string_methods();
const std::vector<JinjaMethodEntry>& string_search_methods();
const std::vector<JinjaMethodEntry>& container_methods();

// shared with filters
JinjaValue stripped(JinjaInterpreter& in, const JinjaValue& string, const JinjaValue* characters, bool left,
                    bool right);
JinjaValue replaced(JinjaInterpreter& in, const JinjaValue& string, const JinjaValue& old, const JinjaValue& with,
                    int64_t count);
JinjaValue uppercased(JinjaInterpreter& in, const JinjaValue& string);
JinjaValue lowercased(JinjaInterpreter& in, const JinjaValue& string);
JinjaValue capitalized(JinjaInterpreter& in, const JinjaValue& string);
JinjaValue centered(JinjaInterpreter& in, const JinjaValue& string, int64_t width, std::string_view fill);
JinjaValue joined_with(JinjaInterpreter& in, const JinjaValue& separator, const std::vector<JinjaValue>& strings);
/// markupsafe.escape.
JinjaValue escaped_markup(JinjaInterpreter& in, const JinjaValue& value);
bool is_lowercase(JinjaInterpreter& in, std::string_view text);
bool is_uppercase(JinjaInterpreter& in, std::string_view text);

}  // namespace qtune
