// Writing GGUF files, version 3, little-endian (ggml's docs/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/formats/gguf.h"
#include "qtune/formats/safetensors.h"

namespace qtune {

/// Key-value pairs, kept in the file's own form, in the order in which they are added. A key is added once.
class GgufMetadata {
 public:
  void add_text(std::string_view key, std::string_view value);
  void add_uint32(std::string_view key, int64_t value);
  void add_int32(std::string_view key, int64_t value);
  void add_float32(std::string_view key, double value);
  void add_bool(std::string_view key, bool value);
  void add_texts(std::string_view key, std::span<const std::string> values);
  void add_int32s(std::string_view key, std::span<const int32_t> values);
  void add_float32s(std::string_view key, std::span<const float> values);

  const std::string& bytes() const { return bytes_; }
  uint64_t count() const { return count_; }

 private:
  void add_key(std::string_view key, GgufValueType type);
  void add_array(std::string_view key, GgufValueType type, uint64_t count);

  std::string bytes_;
  uint64_t count_ = 0;
};

/// A tensor whose values are made piece by piece while the file is written.
struct GgufTensorToWrite {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;  // slowest first; the last one a multiple of the type's block
  std::function<void(const ByteSink&)> values;

  uint64_t num_bytes() const;
};

/// Writes a file, whole or not at all. Tensors lie in the given order, each at a multiple of 32 bytes.
/// Throws: Error naming the path and the reason (disk full, a tensor that brought more or fewer bytes than its shape
/// has).
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                const std::vector<GgufTensorToWrite>& tensors);

/// Bytes of `columns` values of a type. Throws: Error when they are no whole blocks.
uint64_t ggml_row_bytes(GgmlType type, int64_t columns);

/// Writes whole blocks of values as F32, F16, BF16 or Q8_0, equal in every bit to ggml's own reference quantisation.
/// Throws: Error when the type can't be written or the sizes do not fit together.
void quantize_values(std::span<const float> values, GgmlType type, std::span<std::byte> out);

}  // namespace qtune
