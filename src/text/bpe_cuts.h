// Places where a text can be cut without changing its tokens, so that short pieces can be remembered.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace qtune {

/// Merging never joins two characters that stand side by side in no token. A text may be cut between such two, as long
/// as one of them is known: a run of unknown characters may become one unknown token.
/// Characters outside ASCII are taken together, but for U+2581.
class BpeCuts {
 public:
  /// Which byte a space of the text stands for: itself, or U+2581.
  enum class Space { kItself, kSymbol };
  explicit BpeCuts(Space space);

  /// A token that merging may make, or that stands in the text as a whole.
  void add_token(std::string_view token);
  /// Call it once, when all tokens are there: true when words can be cut from each other.
  bool finish();

  /// End of the first piece of the non-empty `text`, valid UTF-8.
  size_t piece_end(std::string_view text) const;

 private:
  static constexpr size_t kSymbol = 128, kOther = 129, kKinds = 130;
  size_t kind_of(std::string_view text, size_t at, size_t& length) const;

  Space space_;
  std::array<std::array<uint8_t, kKinds>, kKinds> joined_{};
  std::array<uint8_t, kKinds> known_{};
};

}  // namespace qtune
