// De-quantisation. A block of 32 values shares a scale d (f16), and in Q4_1 a minimum m (f16):
//   Q4_0: (q - 8) * d   Q4_1: q * d + m   Q8_0: q * d (q signed)
// 4-bit blocks hold value i in the low half of byte i and value i + 16 in its high half.
#include <fmt/format.h>

#include <array>
#include <cstring>

#include "gguf_blocks.h"
#include "qtune/base/error.h"
#include "qtune/formats/dtype.h"

namespace qtune {
namespace {

constexpr int kBlock = 32;

float read_f16(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return f16_to_float(bits);
}

void block_q4_0(const std::byte* block, float* out) {
  const float scale = read_f16(block);
  for (int i = 0; i < kBlock / 2; ++i) {
    const auto pair = static_cast<int>(block[2 + i]);
    out[i] = scale * static_cast<float>((pair & 15) - 8);
    out[i + kBlock / 2] = scale * static_cast<float>((pair >> 4) - 8);
  }
}

void block_q4_1(const std::byte* block, float* out) {
  const float scale = read_f16(block), minimum = read_f16(block + 2);
  for (int i = 0; i < kBlock / 2; ++i) {
    const auto pair = static_cast<int>(block[4 + i]);
    out[i] = scale * static_cast<float>(pair & 15) + minimum;
    out[i + kBlock / 2] = scale * static_cast<float>(pair >> 4) + minimum;
  }
}

void block_q8_0(const std::byte* block, float* out) {
  const float scale = read_f16(block);
  for (int i = 0; i < kBlock; ++i) out[i] = scale * static_cast<float>(static_cast<int8_t>(block[2 + i]));
}

template <class Decode>
void decode_blocks(std::span<const std::byte> bytes, size_t block_bytes, std::span<float> out, Decode decode) {
  for (size_t i = 0; i * kBlock < out.size(); ++i) decode(bytes.data() + i * block_bytes, out.data() + i * kBlock);
}

}  // namespace

std::optional<BlockLayout> block_layout(uint32_t ggml_type) {
  switch (static_cast<GgmlType>(ggml_type)) {
    case GgmlType::kF32:
      return BlockLayout{"F32", 1, 4};
    case GgmlType::kF16:
      return BlockLayout{"F16", 1, 2};
    case GgmlType::kBF16:
      return BlockLayout{"BF16", 1, 2};
    case GgmlType::kQ4_0:
      return BlockLayout{"Q4_0", kBlock, 18};
    case GgmlType::kQ4_1:
      return BlockLayout{"Q4_1", kBlock, 20};
    case GgmlType::kQ8_0:
      return BlockLayout{"Q8_0", kBlock, 34};
  }
  return std::nullopt;
}

std::string describe_ggml_type(uint32_t ggml_type) {
  if (const std::optional<BlockLayout> layout = block_layout(ggml_type)) return layout->name;
  constexpr std::array<const char*, 16> kNames = {"F32",  "F16",  "Q4_0", "Q4_1", "",     "",     "Q5_0", "Q5_1",
                                                  "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"};
  if (ggml_type < kNames.size() && kNames[ggml_type][0] != '\0') return kNames[ggml_type];
  return fmt::format("number {}", ggml_type);
}

std::string_view ggml_type_name(GgmlType type) { return block_layout(static_cast<uint32_t>(type)).value().name; }

int64_t GgufTensor::num_rows() const {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return rows;
}

void dequantize_rows(const GgufTensor& tensor, int64_t first_row, int64_t num_rows, std::span<float> out) {
  const int64_t columns = tensor.num_columns();
  if (first_row < 0 || num_rows < 0 || first_row > tensor.num_rows() - num_rows ||
      out.size() != static_cast<size_t>(num_rows * columns)) {
    throw Error(fmt::format("tensor {}: no rows {} to {} of {} in a buffer of {} values", tensor.name, first_row,
                            first_row + num_rows, tensor.num_rows(), out.size()));
  }
  const BlockLayout layout = block_layout(static_cast<uint32_t>(tensor.type)).value();
  const uint64_t row_bytes = static_cast<uint64_t>(columns / layout.num_values) * layout.num_bytes;
  const auto bytes =
      tensor.bytes.subspan(static_cast<uint64_t>(first_row) * row_bytes, static_cast<uint64_t>(num_rows) * row_bytes);
  switch (tensor.type) {
    case GgmlType::kF32:
      return to_floats(bytes, Dtype::kF32, out);
    case GgmlType::kF16:
      return to_floats(bytes, Dtype::kF16, out);
    case GgmlType::kBF16:
      return to_floats(bytes, Dtype::kBF16, out);
    case GgmlType::kQ4_0:
      return decode_blocks(bytes, layout.num_bytes, out, block_q4_0);
    case GgmlType::kQ4_1:
      return decode_blocks(bytes, layout.num_bytes, out, block_q4_1);
    case GgmlType::kQ8_0:
      return decode_blocks(bytes, layout.num_bytes, out, block_q8_0);
  }
}

}  // namespace qtune
