// Element types of stored weights, and exact conversions between them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

/// In the order in which safetensors files store them, smallest first; written files put the last ones first.
enum class Dtype { kBool, kU8, kI8, kI16, kF16, kBF16, kI32, kF32, kF64, kI64 };

/// Bytes of one value.
size_t dtype_size(Dtype dtype);

/// Name in a safetensors header: "BF16", "F32", ...
std::string_view dtype_name(Dtype dtype);

/// Name in a config.json: "bfloat16", "float32", ...
std::string_view dtype_torch_name(Dtype dtype);

/// The type of a safetensors name; nullopt when there is none.
std::optional<Dtype> dtype_from_name(std::string_view name);

/// Whether values can be converted by convert_values.
bool is_floating(Dtype dtype);

/// Product of the dimensions, 1 for no dimensions; nullopt when one is negative or the product does not fit.
std::optional<int64_t> num_values(std::span<const int64_t> shape);

/// "[3, 4]", for messages.
std::string shape_text(std::span<const int64_t> shape);

/// Round to nearest, ties to even; overflow gives infinity, any NaN the quiet one.
inline uint16_t float_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float bf16_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// Round to nearest, ties to even; overflow gives infinity, any NaN a quiet one of the same sign.
uint16_t float_to_f16(float value);

float f16_to_float(uint16_t bits);

/// Reads `out.size()` values of a floating type, in any alignment.
/// Throws: Error when `dtype` is not floating or the sizes do not fit together.
void to_floats(std::span<const std::byte> bytes, Dtype dtype, std::span<float> out);

/// Writes the values in a floating type, rounded once.
/// Throws: Error when `dtype` is not floating or the sizes do not fit together.
void from_floats(std::span<const float> values, Dtype dtype, std::span<std::byte> out);

}  // namespace qtune
