#include "qtune/formats/gguf.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "checkpoint_file.h"
#include "gguf_parser.h"
#include "qtune/base/error.h"
#include "quote_name.h"

namespace qtune {
namespace {

template <class T>
T load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// nullopt: not an integer type, or too large.
std::optional<int64_t> load_integer(GgufValueType type, const std::byte* p) {
  switch (type) {
    case GgufValueType::kUint8:
      return load<uint8_t>(p);
    case GgufValueType::kInt8:
      return load<int8_t>(p);
    case GgufValueType::kUint16:
      return load<uint16_t>(p);
    case GgufValueType::kInt16:
      return load<int16_t>(p);
    case GgufValueType::kUint32:
      return load<uint32_t>(p);
    case GgufValueType::kInt32:
      return load<int32_t>(p);
    case GgufValueType::kInt64:
      return load<int64_t>(p);
    case GgufValueType::kUint64: {
      const auto value = load<uint64_t>(p);
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::string_view load_text(const std::byte* p) {
  return {reinterpret_cast<const char*>(p) + sizeof(uint64_t), load<uint64_t>(p)};
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path) : file_(map_checkpoint_file(path)) { GgufParser(*this).parse(); }

void GgufFile::fail_type(std::string_view key, const char* expected) const {
  throw CheckpointError(
      fmt::format("{}: metadata {}: expected {}, found another type ---> the file is damaged or not a "
                  "model; copy or download it again",
                  path().string(), quote_name(key), expected));
}

const GgufFile::Value* GgufFile::scalar(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return nullptr;
  if (found->second.is_array) fail_type(key, "a single value");
  return &found->second;
}

const GgufFile::Value* GgufFile::array(std::string_view key) const {
  const auto found = values_.find(key);
  if (found == values_.end()) return nullptr;
  if (!found->second.is_array) fail_type(key, "an array");
  return &found->second;
}

std::optional<std::string_view> GgufFile::text(std::string_view key) const {
  const Value* value = scalar(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufValueType::kString) fail_type(key, "text");
  return load_text(value->bytes.data());
}

std::optional<int64_t> GgufFile::integer(std::string_view key) const {
  const Value* value = scalar(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> result = load_integer(value->type, value->bytes.data());
  if (!result) fail_type(key, "an integer of 63 bits");
  return result;
}

std::optional<double> GgufFile::number(std::string_view key) const {
  const Value* value = scalar(key);
  if (value == nullptr) return std::nullopt;
  if (value->type == GgufValueType::kFloat32) return load<float>(value->bytes.data());
  if (value->type == GgufValueType::kFloat64) return load<double>(value->bytes.data());
  const std::optional<int64_t> result = load_integer(value->type, value->bytes.data());
  if (!result) fail_type(key, "a number");
  return static_cast<double>(*result);
}

std::optional<bool> GgufFile::boolean(std::string_view key) const {
  const Value* value = scalar(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufValueType::kBool) fail_type(key, "true or false");
  return load<uint8_t>(value->bytes.data()) != 0;
}

std::optional<std::vector<std::string_view>> GgufFile::texts(std::string_view key) const {
  const Value* value = array(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != GgufValueType::kString) fail_type(key, "an array of texts");
  std::vector<std::string_view> result;
  result.reserve(value->count);
  const std::byte* p = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    result.push_back(load_text(p));
    p += sizeof(uint64_t) + result.back().size();
  }
  return result;
}

std::optional<std::vector<int64_t>> GgufFile::integers(std::string_view key) const {
  const Value* value = array(key);
  if (value == nullptr) return std::nullopt;
  std::vector<int64_t> result;
  result.reserve(value->count);
  const size_t size = gguf_value_size(value->type);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::optional<int64_t> element = load_integer(value->type, value->bytes.data() + i * size);
    if (!element) fail_type(key, "an array of integers");
    result.push_back(*element);
  }
  return result;
}

}  // namespace qtune
