#include "added_tokens.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "unicode.h"

namespace qtune {
namespace {

bool is_class(const char* p, CharClass bit) { return char_classes()[code_point_at(p).value] & bit; }

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), by_first_byte_(256) {
  std::erase_if(tokens_, [](const AddedToken& t) { return t.content.empty(); });
  by_content_.resize(tokens_.size());
  std::iota(by_content_.begin(), by_content_.end(), 0u);
  const auto content = [&](uint32_t i) -> const std::string& { return tokens_[i].content; };
  std::stable_sort(by_content_.begin(), by_content_.end(),
                   [&](uint32_t a, uint32_t b) { return content(a) < content(b); });
  by_content_.erase(std::unique(by_content_.begin(), by_content_.end(),
                                [&](uint32_t a, uint32_t b) { return content(a) == content(b); }),
                    by_content_.end());
  for (uint32_t i = 0; i < by_content_.size(); ++i) {
    const int byte = static_cast<unsigned char>(content(by_content_[i])[0]);
    auto& [first, last] = by_first_byte_[static_cast<size_t>(byte)];
    if (last == 0) first = i;
    last = i + 1;
    only_first_byte_ = i == 0 || only_first_byte_ == byte ? byte : -1;
  }
}

AddedTokenFinder::Match AddedTokenFinder::longest_match(std::string_view text, size_t at) const {
  auto [low, high] = by_first_byte_[static_cast<unsigned char>(text[at])];
  Match best;
  // narrows the ordered contents byte by byte; what ends where the prefix does stands first in its range
  for (size_t depth = 1; low < high; ++depth) {
    const AddedToken& first = tokens_[by_content_[low]];
    if (first.content.size() == depth) {
      best = {&first, depth};
      ++low;
    }
    if (at + depth >= text.size()) break;
    const auto byte = static_cast<unsigned char>(text[at + depth]);
    const auto below = [&](uint32_t i, unsigned b) {
      return static_cast<unsigned char>(tokens_[i].content[depth]) < b;
    };
    const auto begin = by_content_.begin() + low, end = by_content_.begin() + high;
    const auto from = std::lower_bound(begin, end, unsigned{byte}, below),
               to = std::lower_bound(from, end, byte + 1u, below);
    low = static_cast<uint32_t>(from - by_content_.begin());
    high = static_cast<uint32_t>(to - by_content_.begin());
  }
  return best;
}

size_t AddedTokenFinder::find_first_byte(std::string_view text, size_t at) const {
  if (only_first_byte_ >= 0) {
    const void* found = at < text.size() ? std::memchr(text.data() + at, only_first_byte_, text.size() - at) : nullptr;
    return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : text.size();
  }
  while (at < text.size() && by_first_byte_[static_cast<unsigned char>(text[at])].second == 0) ++at;
  return at;
}

void AddedTokenFinder::split(std::string_view text, std::vector<TextPart>& parts) const {
  size_t done = 0;
  size_t at = tokens_.empty() ? text.size() : find_first_byte(text, 0);
  while (at < text.size()) {
    const auto [token, length] = longest_match(text, at);
    if (!token) {
      at = find_first_byte(text, at + 1);
      continue;
    }
    size_t begin = at, end = at + length;
    at = find_first_byte(text, end);
    const bool joined = (begin > 0 && is_class(previous_code_point(text.data() + begin), kWord)) ||
                        (end < text.size() && is_class(text.data() + end, kWord));
    if (token->single_word && joined) continue;
    if (token->lstrip) {
      while (begin > done && is_class(previous_code_point(text.data() + begin), kSpace)) {
        begin = static_cast<size_t>(previous_code_point(text.data() + begin) - text.data());
      }
    }
    if (token->rstrip) {
      while (end < text.size() && is_class(text.data() + end, kSpace)) end += code_point_at(text.data() + end).length;
    }
    if (done < begin) parts.push_back({-1, done, begin});
    parts.push_back({token->id, begin, end});
    done = end;
  }
  if (done < text.size()) parts.push_back({-1, done, text.size()});
}

}  // namespace qtune
