#include "gguf_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "gguf_blocks.h"
#include "qtune/base/error.h"
#include "qtune/formats/dtype.h"
#include "quote_name.h"

namespace qtune {
namespace {

constexpr uint64_t kMinMetadataBytes = 8 + 4 + 1;            // key length, type, value
constexpr uint64_t kMinTensorInfoBytes = 8 + 4 + 8 + 4 + 8;  // name length, dimensions, one size, type, offset
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kDefaultAlignment = 32, kMaxAlignment = 1 << 20;

}  // namespace

size_t gguf_value_size(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    default:
      return 0;
  }
}

void GgufParser::fail(const std::string& fault, std::string_view what_to_do) const {
  throw CheckpointError(fmt::format("{}: {} ---> {}", out_.path().string(), fault, what_to_do));
}

void GgufParser::fail(const std::string& fault) const { fail(fault, "the file is damaged; copy or download it again"); }

std::span<const std::byte> GgufParser::take(uint64_t num_bytes, const char* what) {
  if (num_bytes > remaining()) {
    fail(fmt::format("file is {} bytes, {} at byte {} needs {} more", bytes_.size(), what, position_, num_bytes),
         "the file is torn; copy or download it again");
  }
  const auto taken = bytes_.subspan(position_, num_bytes);
  position_ += num_bytes;
  return taken;
}

std::string_view GgufParser::read_text(const char* what) {
  const auto length = read<uint64_t>(what);
  const auto bytes = take(length, what);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void GgufParser::parse() {
  read_header();
  read_metadata();
  read_tensor_infos();
  place_tensors();
}

void GgufParser::read_header() {
  const auto magic = take(4, "the magic");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) fail("expected a GGUF file, found another kind", "give a GGUF file");
  const auto version = read<uint32_t>("the version");
  if (version != 2 && version != 3) {
    const bool swapped = version == 0x02000000u || version == 0x03000000u;
    fail(swapped ? "expected a little-endian file, found a big-endian one"
                 : fmt::format("expected GGUF version 2 or 3, found {}", version),
         "convert it with llama.cpp's gguf tools");
  }
  out_.version_ = version;
  num_tensors_ = read<uint64_t>("the tensor count");
  num_values_ = read<uint64_t>("the metadata count");
}

void GgufParser::read_metadata() {
  if (num_values_ > remaining() / kMinMetadataBytes) {
    fail(fmt::format("{} metadata values do not fit into {} bytes", num_values_, remaining()));
  }
  for (uint64_t i = 0; i < num_values_; ++i) {
    const std::string_view key = read_text("a metadata key");
    const GgufFile::Value value = read_value();
    if (!out_.values_.emplace(key, value).second) fail(fmt::format("metadata key {} is there twice", quote_name(key)));
  }
}

GgufFile::Value GgufParser::read_value() {
  GgufFile::Value value;
  auto type = read<uint32_t>("a metadata type");
  if (type == static_cast<uint32_t>(GgufValueType::kArray)) {
    value.is_array = true;
    type = read<uint32_t>("an array's type");
    value.count = read<uint64_t>("an array's length");
  }
  if (type > static_cast<uint32_t>(GgufValueType::kFloat64)) {
    fail(fmt::format("metadata type {} at byte {} is unknown", type, position_));
  }
  value.type = static_cast<GgufValueType>(type);
  if (value.type == GgufValueType::kArray) {
    fail(fmt::format("arrays of arrays (at byte {}) can't be read", position_), "give a model without them");
  }
  const uint64_t start = position_;
  skip_array_elements(value.type, value.count);
  value.bytes = bytes_.subspan(start, position_ - start);
  return value;
}

void GgufParser::skip_array_elements(GgufValueType type, uint64_t count) {
  const size_t size = gguf_value_size(type);
  if (const uint64_t smallest = size == 0 ? 8 : size; count > remaining() / smallest) {
    fail(fmt::format("{} metadata values of {} or more bytes at byte {} do not fit into {} bytes", count, smallest,
                     position_, remaining()));
  }
  if (size > 0) {
    take(count * size, "a metadata value");
  } else {
    for (uint64_t i = 0; i < count; ++i) read_text("a metadata text");
  }
}

void GgufParser::read_tensor_infos() {
  if (num_tensors_ > remaining() / kMinTensorInfoBytes) {
    fail(fmt::format("{} tensors do not fit into {} bytes", num_tensors_, remaining()));
  }
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < num_tensors_; ++i) {
    pending_.push_back(read_tensor_info());
    const std::string& name = pending_.back().tensor.name;
    if (!names.insert(name).second) fail(fmt::format("tensor {} is there twice", quote_name(name)));
  }
}

GgufParser::PendingTensor GgufParser::read_tensor_info() {
  PendingTensor pending;
  GgufTensor& tensor = pending.tensor;
  tensor.name = read_text("a tensor's name");
  const std::string where = "tensor " + quote_name(tensor.name);
  const auto num_dimensions = read<uint32_t>("a tensor's dimensions");
  if (num_dimensions < 1 || num_dimensions > kMaxDimensions) {
    fail(fmt::format("{}: expected 1 to {} dimensions, found {}", where, kMaxDimensions, num_dimensions));
  }
  for (uint32_t i = 0; i < num_dimensions; ++i) {
    const auto size = read<int64_t>("a tensor's dimensions");
    if (size < 1) fail(fmt::format("{}: expected dimensions of 1 or more, found {}", where, size));
    tensor.shape.insert(tensor.shape.begin(), size);
  }
  const auto type = read<uint32_t>("a tensor's type");
  const std::optional<BlockLayout> layout = block_layout(type);
  if (!layout) {
    fail(fmt::format("{}: expected type F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found {}", where, describe_ggml_type(type)),
         "give a file in one of these types");
  }
  tensor.type = static_cast<GgmlType>(type);
  pending.offset = read<uint64_t>("a tensor's offset");
  const std::optional<int64_t> values = num_values(tensor.shape);
  if (tensor.num_columns() % layout->num_values != 0) {
    fail(fmt::format("{}: expected rows of a multiple of {} values for {}, found {}", where, layout->num_values,
                     layout->name, tensor.num_columns()));
  }
  if (!values || __builtin_mul_overflow(static_cast<uint64_t>(*values / layout->num_values), layout->num_bytes,
                                        &pending.num_bytes)) {
    fail(fmt::format("{}: the size of shape {} does not fit 64 bits", where, shape_text(tensor.shape)));
  }
  return pending;
}

uint64_t GgufParser::alignment() const {
  const std::optional<int64_t> stored = out_.integer("general.alignment");
  if (!stored) return kDefaultAlignment;
  const auto alignment = static_cast<uint64_t>(*stored);
  if (*stored < 1 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0) {
    fail(fmt::format("general.alignment: expected a power of two of at most {}, found {}", kMaxAlignment, *stored));
  }
  return alignment;
}

void GgufParser::place_tensors() {
  const uint64_t align = alignment();
  const uint64_t start = (position_ + align - 1) / align * align;
  const auto data = start < bytes_.size() ? bytes_.subspan(start) : std::span<const std::byte>{};
  std::vector<const PendingTensor*> by_offset;
  for (PendingTensor& pending : pending_) {
    const std::string where = "tensor " + quote_name(pending.tensor.name);
    if (pending.offset % align != 0) {
      fail(fmt::format("{}: expected an offset of a multiple of {}, found {}", where, align, pending.offset));
    }
    if (pending.offset > data.size() || pending.num_bytes > data.size() - pending.offset) {
      fail(fmt::format("{}: expected {} bytes at byte {} behind the head, the file has {} there", where,
                       pending.num_bytes, pending.offset, data.size()),
           "the file is torn; copy or download it again");
    }
    pending.tensor.bytes = data.subspan(pending.offset, pending.num_bytes);
    by_offset.push_back(&pending);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i]->offset < by_offset[i - 1]->offset + by_offset[i - 1]->num_bytes) {
      fail(fmt::format("tensors {} and {} overlap", quote_name(by_offset[i - 1]->tensor.name),
                       quote_name(by_offset[i]->tensor.name)));
    }
  }
  for (PendingTensor& pending : pending_) out_.tensors_.push_back(std::move(pending.tensor));
}

}  // namespace qtune
