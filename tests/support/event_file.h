// Reads TensorBoard event files on its own: nothing of the writer is used but the checksum, which has tests of its own.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/base/crc32c.h"

namespace qtune {

/// A protobuf message taken apart: of each field all values, varints and fixed numbers as bits, the rest as bytes.
struct WireMessage {
  explicit WireMessage(std::string_view bytes) {
    while (!bytes.empty()) {
      const uint64_t key = take_varint(bytes);
      const auto field = static_cast<uint32_t>(key >> 3);
      switch (key & 7) {
        case 0:
          numbers[field].push_back(take_varint(bytes));
          break;
        case 1:
          numbers[field].push_back(take_fixed(bytes, 8));
          break;
        case 5:
          numbers[field].push_back(take_fixed(bytes, 4));
          break;
        case 2:
          texts[field].push_back(take(bytes, take_varint(bytes)));
          break;
        default:
          throw std::runtime_error("unknown wire type");
      }
    }
  }

  static std::string take(std::string_view& bytes, uint64_t length) {
    if (bytes.size() < length) throw std::runtime_error("cut off");
    const std::string taken(bytes.substr(0, length));
    bytes.remove_prefix(length);
    return taken;
  }
  static uint64_t take_fixed(std::string_view& bytes, size_t length) {
    uint64_t value = 0;
    std::memcpy(&value, take(bytes, length).data(), length);
    return value;
  }
  static uint64_t take_varint(std::string_view& bytes) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(bytes, 1)[0]);
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
  }

  double real(uint32_t field) const { return std::bit_cast<double>(numbers.at(field).at(0)); }
  std::vector<double> reals(uint32_t field) const {
    std::vector<double> list;
    for (std::string_view bytes = texts.at(field).at(0); !bytes.empty();)
      list.push_back(std::bit_cast<double>(take_fixed(bytes, 8)));
    return list;
  }

  std::map<uint32_t, std::vector<uint64_t>> numbers;
  std::map<uint32_t, std::vector<std::string>> texts;
};

/// The messages of a file of TFRecords. Throws when a checksum or a length is wrong.
inline std::vector<WireMessage> read_events(std::string_view file) {
  const auto check = [](std::string_view bytes, uint64_t expected) {
    // What the format says of it: rotated right by 15 bits, plus a constant.
    const uint32_t crc = crc32c(bytes), masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
    if (masked != expected) throw std::runtime_error("wrong checksum");
  };
  std::vector<WireMessage> events;
  while (!file.empty()) {
    std::string length = WireMessage::take(file, 8);
    check(length, WireMessage::take_fixed(file, 4));
    std::string_view rest = length;
    const std::string bytes = WireMessage::take(file, WireMessage::take_fixed(rest, 8));
    check(bytes, WireMessage::take_fixed(file, 4));
    events.emplace_back(bytes);
  }
  return events;
}

struct LoggedScalar {
  int64_t step = 0;
  float value = 0;
};

/// Scalars by tag, in the file's order.
inline std::map<std::string, std::vector<LoggedScalar>> scalars_of(const std::vector<WireMessage>& events) {
  std::map<std::string, std::vector<LoggedScalar>> scalars;
  for (const WireMessage& event : events) {
    if (!event.texts.contains(5)) continue;
    const WireMessage summary(event.texts.at(5).at(0));
    for (const std::string& bytes : summary.texts.at(1)) {
      const WireMessage value(bytes);
      if (!value.numbers.contains(2)) continue;
      scalars[value.texts.at(1).at(0)].push_back(
          {.step = static_cast<int64_t>(event.numbers.at(2).at(0)),
           .value = std::bit_cast<float>(static_cast<uint32_t>(value.numbers.at(2).at(0)))});
    }
  }
  return scalars;
}

/// The values of the summaries with this tag, whatever they are.
inline std::vector<WireMessage> values_of(const std::vector<WireMessage>& events, const std::string& tag) {
  std::vector<WireMessage> found;
  for (const WireMessage& event : events) {
    if (!event.texts.contains(5)) continue;
    const WireMessage summary(event.texts.at(5).at(0));
    for (const std::string& bytes : summary.texts.at(1)) {
      const WireMessage value(bytes);
      if (value.texts.at(1).at(0) == tag) found.push_back(value);
    }
  }
  return found;
}

}  // namespace qtune
