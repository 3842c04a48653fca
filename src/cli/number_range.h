// Ranges of options that are numbers. CLI11's own write a bound that is not there as 309 digits, and let NaN pass.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace qtune {

/// For `check()`: a number from `least` to `most`, both included; what is no number is left to the conversion.
inline CLI::Validator number_between(double least, double most) {
  const std::string range =
      std::isinf(most) ? fmt::format("at least {:.10g}", least) : fmt::format("from {:.10g} to {:.10g}", least, most);
  return CLI::Validator(
      [=](const std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        const bool is_number = !text.empty() && *end == '\0';
        if (!is_number || (value >= least && value <= most && std::isfinite(value))) return std::string();
        return fmt::format("expected a number {}, found {}", range, text);
      },
      range);
}

inline CLI::Validator number_at_least(double least) {
  return number_between(least, std::numeric_limits<double>::infinity());
}

}  // namespace qtune
