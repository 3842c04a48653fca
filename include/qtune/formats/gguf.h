// GGUF files (llama.cpp's single-file models), versions 2 and 3, little-endian, memory-mapped, read only.
// Files come from strangers: counts, lengths, offsets and sizes are checked before use, and memory stays in proportion
// to the file. Format: ggml's docs/gguf.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "qtune/base/file.h"

namespace qtune {

/// Stored types that can be read; the values are ggml's.
enum class GgmlType : uint32_t { kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ8_0 = 8, kBF16 = 30 };

/// Types of metadata values; the values are GGUF's.
enum class GgufValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

/// "Q4_1" and the like.
std::string_view ggml_type_name(GgmlType type);

/// A stored tensor. `bytes` points into the mapped file and lives as long as it.
struct GgufTensor {
  std::string name;
  GgmlType type = GgmlType::kF32;
  std::vector<int64_t> shape;        // 1 to 4 dimensions, slowest first (the reverse of the file's order), each >= 1
  std::span<const std::byte> bytes;  // exactly the size that type and shape say

  /// Values of one row, the last dimension.
  int64_t num_columns() const { return shape.back(); }
  /// All dimensions but the last, multiplied.
  int64_t num_rows() const;
};

/// Values of rows [first_row, first_row + num_rows) as floats, equal in every bit to ggml's own de-quantisation.
/// Throws: Error when the rows are not there or `out` is not num_rows * num_columns() long.
void dequantize_rows(const GgufTensor& tensor, int64_t first_row, int64_t num_rows, std::span<float> out);

class GgufFile {
 public:
  /// Throws: CheckpointError naming the file, the key or tensor, what was expected and what was found.
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  uint32_t version() const { return version_; }

  /// All tensors, in the file's order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }

  bool has(std::string_view key) const { return values_.contains(key); }

  /// Metadata by key. nullopt: the key is absent. Text points into the mapped file and need not be valid UTF-8.
  /// Throws: CheckpointError naming the key when its value is of another type, or an integer does not fit.
  std::optional<std::string_view> text(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::vector<std::string_view>> texts(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;

 private:
  friend class GgufParser;

  /// A value as it lies in the file; an array's elements are decoded when asked for.
  struct Value {
    GgufValueType type = GgufValueType::kUint8;  // of the value, or of an array's elements
    bool is_array = false;
    uint64_t count = 1;
    std::span<const std::byte> bytes;
  };
  const Value* scalar(std::string_view key) const;
  const Value* array(std::string_view key) const;
  [[noreturn]] void fail_type(std::string_view key, const char* expected) const;

  MappedFile file_;
  uint32_t version_ = 0;
  std::unordered_map<std::string_view, Value> values_;  // keys point into the mapped file
  std::vector<GgufTensor> tensors_;
};

}  // namespace qtune
