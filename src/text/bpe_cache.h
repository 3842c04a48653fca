// Pieces of text whose tokens are remembered: most words of a text have been seen before.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace qtune {

/// A token of a piece; bytes [begin, end) of the piece.
struct BpeToken {
  int32_t id;
  uint32_t begin, end;
};

/// Remembers short pieces for the thread that asks. A tokenizer has one; the threads' memory (1 MiB each) is shared by
/// all of them, so that a piece may have been forgotten.
class PieceCache {
 public:
  PieceCache();

  /// Appends the piece's tokens and returns true, or returns false.
  bool find(std::string_view piece, std::vector<BpeToken>& out) const {
    return piece.size() <= kMaxBytes && find_short(piece, out);
  }
  /// Does nothing for a piece that is too long, or whose tokens do not cover it end to end.
  void keep(std::string_view piece, std::span<const BpeToken> tokens) const;

 private:
  static constexpr size_t kMaxBytes = 18;
  bool find_short(std::string_view piece, std::vector<BpeToken>& out) const;

  uint32_t serial_;  // tells this cache's entries from others'
};

}  // namespace qtune
