#include "arguments.h"

#include <fmt/format.h>

#include <algorithm>

#include "operators.h"

namespace qtune {

int64_t JinjaBound::integer(JinjaInterpreter& in, size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  if (values_[i]->is_undefined()) fail_undefined(in, *values_[i]);
  if (!values_[i]->is_integral())
    in.fail(fmt::format("expected an integer argument, found a {}", type_name(*values_[i])));
  return values_[i]->as_int();
}

bool JinjaBound::flag(size_t i, bool otherwise) const { return has(i) ? truth(*values_[i]) : otherwise; }

const JinjaValue& JinjaBound::string(JinjaInterpreter& in, size_t i) const {
  if (!values_[i]->is_string()) in.fail(fmt::format("expected a string argument, found a {}", type_name(*values_[i])));
  return *values_[i];
}

JinjaBound bind_named(JinjaInterpreter& in, std::string_view function, const JinjaArguments& arguments,
                      std::span<const std::string_view> names, size_t num_required) {
  JinjaBound out;
  if (arguments.values.size() > names.size())
    in.fail(fmt::format("{} takes at most {} arguments, found {}", function, names.size(), arguments.values.size()));
  for (size_t i = 0; i < arguments.values.size(); ++i) out.values_[i] = &arguments.values[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) in.fail(fmt::format("{} has no argument {}", function, name));
    const auto at = static_cast<size_t>(found - names.begin());
    if (out.values_[at]) in.fail(fmt::format("{}: the argument {} is given twice", function, name));
    out.values_[at] = &value;
  }
  for (size_t i = 0; i < num_required; ++i) {
    if (!out.values_[i]) in.fail(fmt::format("{} needs the argument {}", function, names[i]));
  }
  return out;
}

JinjaBound bind_positional(JinjaInterpreter& in, std::string_view function, const JinjaArguments& arguments,
                           size_t num_required, size_t num_allowed) {
  if (!arguments.named.empty()) in.fail(fmt::format("{} takes no named arguments", function));
  const size_t count = arguments.values.size();
  if (count < num_required || count > num_allowed)
    in.fail(fmt::format("{} takes {} to {} arguments, found {}", function, num_required, num_allowed, count));
  JinjaBound out;
  for (size_t i = 0; i < count; ++i) out.values_[i] = &arguments.values[i];
  return out;
}

}  // namespace qtune
