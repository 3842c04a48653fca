// Arguments of built-in functions, bound to their parameters' names as Python does it.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "interpreter.h"

namespace qtune {

class JinjaBound {
 public:
  static constexpr size_t kMaxParameters = 6;
  bool has(size_t i) const { return values_[i] != nullptr; }
  const JinjaValue& operator[](size_t i) const { return *values_[i]; }
  const JinjaValue* find(size_t i) const { return values_[i]; }
  /// Throws: JinjaError for another type; `otherwise` where it is not given.
  int64_t integer(JinjaInterpreter& in, size_t i, int64_t otherwise) const;
  bool flag(size_t i, bool otherwise = false) const;
  /// Throws: JinjaError when it is not a string.
  const JinjaValue& string(JinjaInterpreter& in, size_t i) const;

  std::array<const JinjaValue*, kMaxParameters> values_{};
};

/// Throws: JinjaError for too many, unknown, repeated or missing arguments. `num_required` come first.
JinjaBound bind_named(JinjaInterpreter& in, std::string_view function, const JinjaArguments& arguments,
                      std::span<const std::string_view> names, size_t num_required);
/// For methods that take no names.
JinjaBound bind_positional(JinjaInterpreter& in, std::string_view function, const JinjaArguments& arguments,
                           size_t num_required, size_t num_allowed);

}  // namespace qtune
