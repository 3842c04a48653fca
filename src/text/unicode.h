// UTF-8 and classes of code points, as the tokenizers need them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

enum CharClass : uint8_t {
  kLetter = 1,      // \p{L} of the pre-tokenizers' regular expressions
  kNumber = 2,      // \p{N} there
  kSpace = 4,       // \s there
  kNumeric = 8,     // a digit for the Digits splitter, which knows a newer Unicode
  kWord = 16,       // a part of a word for an added token's single_word
  kNfcActive = 32,  // NFC may change it, or join it to what stands before it
};

/// CharClass bits by code point, 0x110000 entries, made on first use.
const uint8_t* char_classes();

struct CodePoint {
  uint32_t value;
  uint32_t length;  // bytes
};

/// The code point at `p`, which must point into valid UTF-8.
inline CodePoint code_point_at(const char* p) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  if (b[0] < 0x80) return {b[0], 1};
  if (b[0] < 0xE0) return {(b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu), 2};
  if (b[0] < 0xF0) return {(b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu), 3};
  return {(b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu), 4};
}

/// Start of the code point that ends before `p`; valid UTF-8 with at least one code point before `p`.
inline const char* previous_code_point(const char* p) {
  do --p;
  while ((static_cast<unsigned char>(*p) & 0xC0) == 0x80);
  return p;
}

void append_utf8(std::string& out, uint32_t code_point);

/// Offset of the first byte that is not part of valid UTF-8; nullopt when all is valid.
std::optional<size_t> find_invalid_utf8(std::string_view text);

/// Each maximal broken part of a sequence becomes one U+FFFD, as in Rust's from_utf8_lossy and the Unicode standard.
std::string to_valid_utf8(std::string_view bytes);

}  // namespace qtune
