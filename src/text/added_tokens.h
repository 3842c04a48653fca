// Added tokens: found in the text before anything else cuts it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

/// An entry of tokenizer.json's `added_tokens`.
struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool single_word = false;  // not where a letter, digit or the like stands next to it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool normalized = false;   // looked for in the normalized text
};

/// A stretch of text: an added token, or (id -1) what stands between them.
struct TextPart {
  int32_t id;
  size_t begin, end;
};

/// Finds the leftmost, then longest, added tokens of a text. Of equal contents the first counts.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  /// Parts of a text of valid UTF-8, in order; none for an empty text.
  void split(std::string_view text, std::vector<TextPart>& parts) const;

 private:
  struct Match {
    const AddedToken* token = nullptr;
    size_t length = 0;
  };
  Match longest_match(std::string_view text, size_t at) const;
  size_t find_first_byte(std::string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<uint32_t> by_content_;                          // indices into tokens_, ordered by content
  std::vector<std::pair<uint32_t, uint32_t>> by_first_byte_;  // 256 ranges in by_content_
  int only_first_byte_ = -1;                                  // -1: tokens start with different bytes
};

}  // namespace qtune
