#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gguf_write.h"
#include "qtune/base/error.h"
#include "qtune/formats/dtype.h"

namespace qtune {
namespace {

constexpr size_t kBlock = 32;

/// 2 bytes scale, then 32 signed bytes. ggml rounds halves away from zero, and divides before it rounds the scale.
void block_q8_0(const float* values, std::byte* out) {
  float largest = 0;
  for (size_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::fabs(values[i]));
  const float scale = largest / 127.0f;
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  const uint16_t stored = float_to_f16(scale);
  std::memcpy(out, &stored, sizeof stored);
  for (size_t i = 0; i < kBlock; ++i) {
    // NaN has no integer; a huge value stays at the end of the range
    const float rounded = std::round(values[i] * inverse);
    const float kept = std::isnan(rounded) ? 0.0f : std::clamp(rounded, -128.0f, 127.0f);
    out[sizeof stored + i] = static_cast<std::byte>(static_cast<int8_t>(kept));
  }
}

}  // namespace

void quantize_values(std::span<const float> values, GgmlType type, std::span<std::byte> out) {
  switch (type) {
    case GgmlType::kF32:
      return from_floats(values, Dtype::kF32, out);
    case GgmlType::kF16:
      return from_floats(values, Dtype::kF16, out);
    case GgmlType::kBF16:
      return from_floats(values, Dtype::kBF16, out);
    case GgmlType::kQ8_0: {
      if (out.size() != ggml_row_bytes(type, static_cast<int64_t>(values.size()))) {
        throw Error(fmt::format("weights: {} bytes do not hold {} Q8_0 values", out.size(), values.size()));
      }
      constexpr size_t kBytes = 2 + kBlock;
      for (size_t i = 0; i * kBlock < values.size(); ++i) block_q8_0(&values[i * kBlock], &out[i * kBytes]);
      return;
    }
    default:
      throw Error(fmt::format("weights: cannot write {} values", ggml_type_name(type)));
  }
}

}  // namespace qtune
