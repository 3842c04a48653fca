// Weights that float16 can't hold. Internal to the conversions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace qtune {

/// Counts finite values that float16 rounds to infinity, so that a broken model is not made in silence.
class Float16Range {
 public:
  void see(std::string_view tensor, std::span<const float> values);

  /// One warning for the whole model; none when every value fitted.
  void warn(const std::filesystem::path& out) const;

 private:
  int64_t num_values_ = 0;
  float largest_ = 0;  // by its absolute value
  std::string tensor_;
};

}  // namespace qtune
