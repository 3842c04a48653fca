#include "gguf_write.h"

#include <fmt/format.h>

#include "gguf_blocks.h"
#include "qtune/base/error.h"
#include "quote_name.h"

namespace qtune {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kAlignment = 32;  // what readers take when general.alignment is not there

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& out, std::string_view text) {
  append(out, static_cast<uint64_t>(text.size()));
  out += text;
}

uint64_t padding(uint64_t position) { return (kAlignment - position % kAlignment) % kAlignment; }

std::string make_tensor_table(const std::vector<GgufTensorToWrite>& tensors) {
  std::string table;
  uint64_t offset = 0;
  for (const GgufTensorToWrite& tensor : tensors) {
    append_text(table, tensor.name);
    append(table, static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) append(table, static_cast<uint64_t>(tensor.shape[i]));
    append(table, static_cast<uint32_t>(tensor.type));
    append(table, offset);
    const uint64_t end = offset + tensor.num_bytes();
    offset = end + padding(end);
  }
  return table;
}

void write_values(AtomicFileWriter& file, const GgufTensorToWrite& tensor, const std::filesystem::path& path) {
  const uint64_t expected = tensor.num_bytes();
  uint64_t found = 0;
  tensor.values([&](std::span<const std::byte> piece) {
    found += piece.size();
    file.write(piece.data(), piece.size());
  });
  if (found != expected) {
    throw Error(fmt::format("{}: tensor {}: expected {} bytes for shape {}, found {}", path.string(),
                            quote_name(tensor.name), expected, shape_text(tensor.shape), found));
  }
  file.write(std::string(padding(found), '\0'));
}

}  // namespace

void GgufMetadata::add_key(std::string_view key, GgufValueType type) {
  append_text(bytes_, key);
  append(bytes_, static_cast<uint32_t>(type));
  ++count_;
}

void GgufMetadata::add_array(std::string_view key, GgufValueType type, uint64_t count) {
  add_key(key, GgufValueType::kArray);
  append(bytes_, static_cast<uint32_t>(type));
  append(bytes_, count);
}

void GgufMetadata::add_text(std::string_view key, std::string_view value) {
  add_key(key, GgufValueType::kString);
  append_text(bytes_, value);
}

void GgufMetadata::add_uint32(std::string_view key, int64_t value) {
  add_key(key, GgufValueType::kUint32);
  append(bytes_, static_cast<uint32_t>(value));
}

void GgufMetadata::add_int32(std::string_view key, int64_t value) {
  add_key(key, GgufValueType::kInt32);
  append(bytes_, static_cast<int32_t>(value));
}

void GgufMetadata::add_float32(std::string_view key, double value) {
  add_key(key, GgufValueType::kFloat32);
  append(bytes_, static_cast<float>(value));
}

void GgufMetadata::add_bool(std::string_view key, bool value) {
  add_key(key, GgufValueType::kBool);
  append(bytes_, static_cast<uint8_t>(value ? 1 : 0));
}

void GgufMetadata::add_texts(std::string_view key, std::span<const std::string> values) {
  add_array(key, GgufValueType::kString, values.size());
  for (const std::string& value : values) append_text(bytes_, value);
}

void GgufMetadata::add_int32s(std::string_view key, std::span<const int32_t> values) {
  add_array(key, GgufValueType::kInt32, values.size());
  bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

void GgufMetadata::add_float32s(std::string_view key, std::span<const float> values) {
  add_array(key, GgufValueType::kFloat32, values.size());
  bytes_.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

uint64_t GgufTensorToWrite::num_bytes() const {
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) rows *= static_cast<uint64_t>(shape[i]);
  return rows * ggml_row_bytes(type, shape.back());
}

void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                const std::vector<GgufTensorToWrite>& tensors) {
  std::string head = "GGUF";
  append(head, kVersion);
  append(head, static_cast<uint64_t>(tensors.size()));
  append(head, metadata.count());
  const std::string table = make_tensor_table(tensors);
  const uint64_t end = head.size() + metadata.bytes().size() + table.size();

  AtomicFileWriter file(path);
  file.write(head);
  file.write(metadata.bytes());
  file.write(table);
  file.write(std::string(padding(end), '\0'));
  for (const GgufTensorToWrite& tensor : tensors) write_values(file, tensor, path);
  file.commit();
}

uint64_t ggml_row_bytes(GgmlType type, int64_t columns) {
  const BlockLayout layout = block_layout(static_cast<uint32_t>(type)).value();
  if (columns % layout.num_values != 0) {
    throw Error(
        fmt::format("{}: rows of {} values are no whole blocks of {}", layout.name, columns, layout.num_values));
  }
  return static_cast<uint64_t>(columns / layout.num_values) * layout.num_bytes;
}

}  // namespace qtune
