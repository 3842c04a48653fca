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

/// Throws: DataError when `text` is not valid UTF-8, or too long to be encoded at once.
void check_encodable(std::string_view text);

}  // namespace qtune
