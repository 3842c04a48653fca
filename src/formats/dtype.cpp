#include "qtune/formats/dtype.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>
#include <limits>

#include "qtune/base/error.h"

namespace qtune {
namespace {

struct DtypeFacts {
  std::string_view name, torch_name;
  size_t size;
};

constexpr std::array<DtypeFacts, 10> kFacts{{{"BOOL", "bool", 1},
                                             {"U8", "uint8", 1},
                                             {"I8", "int8", 1},
                                             {"I16", "int16", 2},
                                             {"F16", "float16", 2},
                                             {"BF16", "bfloat16", 2},
                                             {"I32", "int32", 4},
                                             {"F32", "float32", 4},
                                             {"F64", "float64", 8},
                                             {"I64", "int64", 8}}};

const DtypeFacts& facts(Dtype dtype) { return kFacts.at(static_cast<size_t>(dtype)); }

template <class Stored, class Read>
void read_each(std::span<const std::byte> bytes, std::span<float> out, Read read) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    out[i] = read(stored);
  }
}

template <class Stored, class Write>
void write_each(std::span<const float> values, std::span<std::byte> out, Write write) {
  for (size_t i = 0; i < values.size(); ++i) {
    const Stored stored = write(values[i]);
    std::memcpy(out.data() + i * sizeof stored, &stored, sizeof stored);
  }
}

void check_sizes(Dtype dtype, size_t num_floats, size_t num_bytes) {
  if (!is_floating(dtype))
    throw Error(fmt::format("weights: cannot convert {} values to or from floats", dtype_name(dtype)));
  if (num_bytes % dtype_size(dtype) != 0 || num_bytes / dtype_size(dtype) != num_floats) {
    throw Error(fmt::format("weights: {} bytes do not hold {} {} values", num_bytes, num_floats, dtype_name(dtype)));
  }
}

}  // namespace

size_t dtype_size(Dtype dtype) { return facts(dtype).size; }
std::string_view dtype_name(Dtype dtype) { return facts(dtype).name; }
std::string_view dtype_torch_name(Dtype dtype) { return facts(dtype).torch_name; }

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (size_t i = 0; i < kFacts.size(); ++i) {
    if (kFacts[i].name == name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

bool is_floating(Dtype dtype) {
  return dtype == Dtype::kF16 || dtype == Dtype::kBF16 || dtype == Dtype::kF32 || dtype == Dtype::kF64;
}

std::optional<int64_t> num_values(std::span<const int64_t> shape) {
  int64_t product = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return product;
}

std::string shape_text(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

uint16_t float_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;  // 65536 and above
  if (magnitude < 0x38800000u) {
    // Below the smallest normal f16: adding 0.5 lets the float unit round to multiples of 2^-24, ties to even.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

float f16_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

void to_floats(std::span<const std::byte> bytes, Dtype dtype, std::span<float> out) {
  check_sizes(dtype, out.size(), bytes.size());
  if (out.empty()) return;
  switch (dtype) {
    case Dtype::kF16:
      return read_each<uint16_t>(bytes, out, f16_to_float);
    case Dtype::kBF16:
      return read_each<uint16_t>(bytes, out, bf16_to_float);
    case Dtype::kF64:
      return read_each<double>(bytes, out, [](double value) { return static_cast<float>(value); });
    default:
      std::memcpy(out.data(), bytes.data(), bytes.size());
  }
}

void from_floats(std::span<const float> values, Dtype dtype, std::span<std::byte> out) {
  check_sizes(dtype, values.size(), out.size());
  if (values.empty()) return;
  switch (dtype) {
    case Dtype::kF16:
      return write_each<uint16_t>(values, out, float_to_f16);
    case Dtype::kBF16:
      return write_each<uint16_t>(values, out, float_to_bf16);
    case Dtype::kF64:
      return write_each<double>(values, out, [](float value) { return static_cast<double>(value); });
    default:
      std::memcpy(out.data(), values.data(), out.size());
  }
}

}  // namespace qtune
