#include "float16_range.h"

#include <cmath>

#include "qtune/base/log.h"
#include "quote_name.h"

namespace qtune {
namespace {

constexpr float kFirstInfinite = 65520;  // halfway between the largest float16, 65504, and the next step

}  // namespace

void Float16Range::see(std::string_view tensor, std::span<const float> values) {
  for (const float value : values) {
    if (std::abs(value) < kFirstInfinite || !std::isfinite(value)) continue;
    ++num_values_;
    if (std::abs(value) <= std::abs(largest_)) continue;
    largest_ = value;
    tensor_ = tensor;
  }
}

void Float16Range::warn(const std::filesystem::path& out) const {
  if (num_values_ == 0) return;
  spdlog::warn(
      "{}: {} weights became infinite, since float16 ends at 65504; the largest, {:g}, is in {} ---> use --dtype bf16",
      out.string(), num_values_, largest_, quote_name(tensor_));
}

}  // namespace qtune
