// Reads a GGUF file's head: metadata, then where each tensor lies. Internal to gguf.cpp.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/formats/gguf.h"

namespace qtune {

/// Bytes of a metadata value that is neither text nor an array; 0 for those two.
size_t gguf_value_size(GgufValueType type);

class GgufParser {
 public:
  explicit GgufParser(GgufFile& out) : out_(out), bytes_(out.file_.bytes()) {}
  void parse();

 private:
  struct PendingTensor {
    GgufTensor tensor;
    uint64_t offset = 0, num_bytes = 0;
  };

  template <class T>
  T read(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(uint64_t num_bytes, const char* what);
  std::string_view read_text(const char* what);
  uint64_t remaining() const { return bytes_.size() - position_; }

  void read_header();
  void read_metadata();
  GgufFile::Value read_value();
  void skip_array_elements(GgufValueType type, uint64_t count);
  void read_tensor_infos();
  PendingTensor read_tensor_info();
  void place_tensors();
  uint64_t alignment() const;
  [[noreturn]] void fail(const std::string& fault, std::string_view what_to_do) const;
  [[noreturn]] void fail(const std::string& fault) const;

  GgufFile& out_;
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
  uint64_t num_tensors_ = 0, num_values_ = 0;
  std::vector<PendingTensor> pending_;
};

}  // namespace qtune
