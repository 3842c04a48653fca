#include "truncate.h"

#include <algorithm>
#include <optional>

namespace qtune {
namespace {

/// Tokens of an answer of `answer` tokens behind a prompt of `prompt` tokens, of which `fixed` can't be cut, when
/// `budget` are left for both (LLaMA-Factory's proportional rule, but for what is fixed).
size_t answer_share(size_t prompt, size_t fixed, size_t answer, size_t budget) {
  size_t most = budget;
  if (answer * 2 >= budget) {
    most = prompt * 2 < budget ? budget - prompt : budget * answer / (prompt + answer);
  }
  return std::min({most, answer, budget - std::min(fixed, budget)});
}

/// Marks what stays of one turn; returns how many tokens, nothing when the turn does not fit.
std::optional<size_t> keep_turn(const TokenTurn& turn, const std::vector<uint8_t>& is_content, size_t budget,
                                std::vector<uint8_t>& kept) {
  const size_t prompt = turn.answer - turn.begin, answer = turn.end - turn.answer;
  const size_t content = turn.content_end - turn.answer, ending = answer - content;
  const auto at = [&](size_t i) { return is_content.begin() + static_cast<std::ptrdiff_t>(i); };
  const auto fixed = static_cast<size_t>(std::count(at(turn.begin), at(turn.answer), uint8_t{0}));
  size_t answer_kept = answer_share(prompt, fixed, answer, budget);
  // Rather one token of the answer than nothing to train on.
  if (content > 0 && answer_kept <= ending && fixed + ending + 1 <= budget) answer_kept = ending + 1;
  const size_t prompt_kept = std::min(prompt, budget - answer_kept);
  if (content > 0 && answer_kept <= ending) return std::nullopt;
  if (content == 0 && answer_kept < ending) return std::nullopt;
  // prompt: content goes, the last first
  size_t excess = prompt - prompt_kept;
  for (size_t i = turn.answer; i > turn.begin; --i) {
    const bool cut = excess > 0 && is_content[i - 1];
    kept[i - 1] = cut ? 0 : 1;
    if (cut) --excess;
  }
  if (excess > 0) {  // the template alone is too long
    std::fill(kept.begin() + static_cast<std::ptrdiff_t>(turn.begin),
              kept.begin() + static_cast<std::ptrdiff_t>(turn.answer), uint8_t{0});
    return std::nullopt;
  }
  const size_t content_end = turn.answer + (answer_kept - ending);
  for (size_t i = turn.answer; i < turn.end; ++i) kept[i] = i < content_end || i >= turn.content_end;
  return prompt_kept + answer_kept;
}

}  // namespace

std::vector<uint8_t> kept_after_truncation(const std::vector<TokenTurn>& turns, const std::vector<uint8_t>& is_content,
                                           size_t budget, TurnOrder order) {
  std::vector<uint8_t> kept(is_content.size(), 0);
  for (size_t n = 0; n < turns.size() && budget > 0; ++n) {
    const TokenTurn& turn = turns[order == TurnOrder::kFirstToLast ? n : turns.size() - 1 - n];
    if (turn.answer == turn.end && turn.end - turn.begin > budget) {  // no answer to come: a plain cut at the end
      std::fill_n(kept.begin() + static_cast<std::ptrdiff_t>(turn.begin), budget, uint8_t{1});
      break;
    }
    const auto used = keep_turn(turn, is_content, budget, kept);
    if (!used) break;
    budget -= *used;
  }
  return kept;
}

}  // namespace qtune
