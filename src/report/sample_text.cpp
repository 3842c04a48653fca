#include "qtune/report/sample_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace qtune {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr size_t kMostTokensOfACharacter = 4;

class PieceMaker {
 public:
  PieceMaker(const TokenizedSample& sample, const DecodeIds& decode) : sample_(sample), decode_(decode) {
    in_T_.assign(sample.input_ids.size(), 0);
    for (const int32_t k : trainable_positions(sample)) in_T_[static_cast<size_t>(k)] = 1;
  }

  void add(size_t begin, size_t end) {
    for (size_t start = begin; start < end;) {
      const size_t stop = end_of_piece(start, end);
      add_piece(text_of(start, stop), start, stop);
      start = stop;
    }
  }
  void add_gap(size_t begin, size_t end) {
    if (begin < end) add_piece(fmt::format(" [... {} tokens ...] ", end - begin), begin, end);
  }

  SampleText take() { return std::move(text_); }

 private:
  void add_piece(std::string text, size_t start, size_t stop) {
    text_.pieces.push_back(std::move(text));
    const auto first = in_T_.begin();
    text_.trainable.push_back(static_cast<int32_t>(
        std::count(first + static_cast<std::ptrdiff_t>(start), first + static_cast<std::ptrdiff_t>(stop), 1)));
  }

  std::span<const int32_t> ids(size_t start, size_t stop) const {
    return std::span(sample_.input_ids).subspan(start, stop - start);
  }

  /// Tokens that share a character are one piece.
  size_t end_of_piece(size_t start, size_t end) const {
    const size_t most = std::min(end, start + kMostTokensOfACharacter);
    for (size_t stop = start + 1; decode_ && stop <= most && in_T_[stop - 1] == in_T_[start]; ++stop) {
      if (decode_(ids(start, stop)).find(kReplacement) == std::string::npos) return stop;
    }
    return start + 1;
  }

  /// Decoders that take a space away from the start of a text must not do so inside of one.
  std::string text_of(size_t start, size_t stop) const {
    if (!decode_) return ids_as_text(ids(start, stop)) + " ";
    if (start == 0) return decode_(ids(start, stop));
    const std::string before = decode_(ids(start - 1, start)), both = decode_(ids(start - 1, stop));
    return both.starts_with(before) ? both.substr(before.size()) : decode_(ids(start, stop));
  }

  const TokenizedSample& sample_;
  const DecodeIds& decode_;
  std::vector<uint8_t> in_T_;
  SampleText text_;
};

}  // namespace

SampleText sample_text(const TokenizedSample& sample, const DecodeIds& decode, size_t max_tokens) {
  const size_t size = sample.input_ids.size(), shown = std::min(size, max_tokens);
  PieceMaker maker(sample, decode);
  maker.add(0, shown - shown / 2);
  maker.add_gap(shown - shown / 2, size - shown / 2);
  maker.add(size - shown / 2, size);
  return maker.take();
}

}  // namespace qtune
