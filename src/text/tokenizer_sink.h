// Where encoding puts its tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "qtune/text/tokenizer.h"

namespace qtune {

/// Collects ids, and spans where they are wanted.
struct TokenSink {
  std::vector<int32_t>* ids = nullptr;
  std::vector<TokenSpan>* spans = nullptr;

  void add(int32_t id, size_t begin, size_t end) {
    if (ids) {
      ids->push_back(id);
    } else {
      spans->push_back({id, begin, end});
    }
  }
};

/// A tokenizer that encodes in one way, with and without offsets.
class SinkTokenizer : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text) const final {
    std::vector<int32_t> ids;
    ids.reserve(text.size() / 4 + 8);
    TokenSink sink{.ids = &ids};
    encode_into(text, sink);
    return ids;
  }

  std::vector<TokenSpan> encode_with_offsets(std::string_view text) const final {
    std::vector<TokenSpan> spans;
    spans.reserve(text.size() / 4 + 8);
    TokenSink sink{.spans = &spans};
    encode_into(text, sink);
    return spans;
  }

 private:
  virtual void encode_into(std::string_view text, TokenSink& sink) const = 0;
};

/// Throws: DataError when `text` is not valid UTF-8, or too long to be encoded at once.
void check_encodable(std::string_view text);

}  // namespace qtune
