// Which tokens of a sample stay when it is longer than cutoff_len. The rule is told in tokenize_sample.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qtune {

/// A prompt and its answer, as token indices: prompt [begin, answer), answer [answer, end) with its content up to
/// `content_end` (the rest is the end-of-turn token and the template's text). Turns lie end to end and cover the
/// sample. A turn without answer (answer == end) is text behind the last one.
struct TokenTurn {
  size_t begin = 0, answer = 0, content_end = 0, end = 0;
};

enum class TurnOrder { kFirstToLast, kLastToFirst };

/// For each token whether it stays; at most `budget` do. `is_content` marks prompt tokens that may be cut.
std::vector<uint8_t> kept_after_truncation(const std::vector<TokenTurn>& turns, const std::vector<uint8_t>& is_content,
                                           size_t budget, TurnOrder order);

}  // namespace qtune
