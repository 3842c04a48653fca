// Writes the wire format of protocol buffers, field by field: all that an event file needs of it.
// https://protobuf.dev/programming-guides/encoding
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qtune {

class ProtobufMessage {
 public:
  /// int32, int64, uint64, enum. Negative numbers take their two's complement, as the format has it.
  void add_integer(uint32_t field, int64_t value) {
    add_key(field, kVarint);
    add_varint(static_cast<uint64_t>(value));
  }
  void add_double(uint32_t field, double value) {
    add_key(field, kFixed64);
    add_little_endian(std::bit_cast<uint64_t>(value), 8);
  }
  void add_float(uint32_t field, float value) {
    add_key(field, kFixed32);
    add_little_endian(std::bit_cast<uint32_t>(value), 4);
  }
  void add_bytes(uint32_t field, std::string_view bytes) {
    add_key(field, kLengthDelimited);
    add_varint(bytes.size());
    bytes_ += bytes;
  }
  void add_message(uint32_t field, const ProtobufMessage& message) { add_bytes(field, message.bytes_); }
  void add_packed_doubles(uint32_t field, std::span<const double> values) {
    add_key(field, kLengthDelimited);
    add_varint(8 * values.size());
    for (const double v : values) add_little_endian(std::bit_cast<uint64_t>(v), 8);
  }

  const std::string& bytes() const { return bytes_; }

 private:
  enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

  void add_key(uint32_t field, WireType type) { add_varint(uint64_t{field} << 3 | type); }
  void add_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  void add_little_endian(uint64_t value, int num_bytes) {
    for (int i = 0; i < num_bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }

  std::string bytes_;
};

}  // namespace qtune
