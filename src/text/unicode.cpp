#include "unicode.h"

#include <cstring>

#include "unicode_tables.h"

namespace qtune {
namespace {

constexpr uint32_t kNumCodePoints = 0x110000;

std::vector<uint8_t> make_char_classes() {
  std::vector<uint8_t> classes(kNumCodePoints, 0);
  const auto mark = [&](const uint32_t* ranges, size_t size, uint8_t bit) {
    for (size_t i = 0; i + 1 < size; i += 2) {
      for (uint32_t c = ranges[i]; c <= ranges[i + 1]; ++c) classes[c] |= bit;
    }
  };
  mark(kLetterRanges, kLetterRangesSize, kLetter);
  mark(kNumberRanges, kNumberRangesSize, kNumber);
  mark(kSpaceRanges, kSpaceRangesSize, kSpace);
  mark(kNumericRanges, kNumericRangesSize, kNumeric);
  mark(kWordRanges, kWordRangesSize, kWord);
  for (size_t i = 0; i < kCompositionsSize; i += 3) classes[kCompositions[i + 2]] |= kNfcActive;
  for (size_t i = 0; i < kDecompositionsSize; i += 3) classes[kDecompositions[i]] |= kNfcActive;
  for (size_t i = 0; i < kCombiningClassesSize; i += 3) {
    for (uint32_t c = kCombiningClasses[i]; c <= kCombiningClasses[i + 1]; ++c) classes[c] |= kNfcActive;
  }
  for (uint32_t c = 0x1161; c <= 0x11C2; ++c) classes[c] |= kNfcActive;  // Hangul vowels and final consonants
  return classes;
}

/// Length of the valid sequence at p, or 0; `broken` is then the length of its maximal broken part.
size_t sequence_length(const unsigned char* p, const unsigned char* end, size_t& broken) {
  const auto continues = [&](size_t i, unsigned low, unsigned high) {
    return p + i < end && p[i] >= low && p[i] <= high;
  };
  broken = 1;
  const unsigned b = p[0];
  if (b < 0x80) return 1;
  if (b < 0xC2 || b > 0xF4) return 0;
  if (b < 0xE0) return continues(1, 0x80, 0xBF) ? 2 : 0;
  if (b < 0xF0) {
    if (!continues(1, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF)) return 0;
    broken = 2;
    return continues(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (!continues(1, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF)) return 0;
  broken = 2;
  if (!continues(2, 0x80, 0xBF)) return 0;
  broken = 3;
  return continues(3, 0x80, 0xBF) ? 4 : 0;
}

/// Calls on_valid(begin, length) for each valid stretch and on_broken(offset) for each broken part; stops when that is
/// false.
template <class Valid, class Broken>
void walk_utf8(std::string_view text, const Valid& on_valid, const Broken& on_broken) {
  const auto* begin = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = begin + text.size();
  const auto* p = begin;
  const auto* stretch = begin;
  while (p < end) {
    uint64_t block = 0;
    if (end - p >= 8 && (std::memcpy(&block, p, 8), (block & 0x8080808080808080ULL) == 0)) {
      p += 8;
      continue;
    }
    size_t broken = 0;
    if (const size_t length = sequence_length(p, end, broken)) {
      p += length;
      continue;
    }
    on_valid(static_cast<size_t>(stretch - begin), static_cast<size_t>(p - stretch));
    if (!on_broken(static_cast<size_t>(p - begin))) return;
    p += broken;
    stretch = p;
  }
  on_valid(static_cast<size_t>(stretch - begin), static_cast<size_t>(end - stretch));
}

}  // namespace

const uint8_t* char_classes() {
  static const std::vector<uint8_t> classes = make_char_classes();
  return classes.data();
}

void append_utf8(std::string& out, uint32_t c) {
  const auto add = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return add(c);
  if (c < 0x800) {
    add(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      add(0xE0 | c >> 12);
    } else {
      add(0xF0 | c >> 18);
      add(0x80 | (c >> 12 & 0x3F));
    }
    add(0x80 | (c >> 6 & 0x3F));
  }
  add(0x80 | (c & 0x3F));
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  std::optional<size_t> found;
  walk_utf8(
      text, [](size_t, size_t) {},
      [&](size_t offset) {
        found = offset;
        return false;
      });
  return found;
}

std::string to_valid_utf8(std::string_view bytes) {
  std::string out;
  walk_utf8(
      bytes, [&](size_t begin, size_t length) { out.append(bytes, begin, length); },
      [&](size_t) {
        out += "\xEF\xBF\xBD";
        return true;
      });
  return out;
}

}  // namespace qtune
