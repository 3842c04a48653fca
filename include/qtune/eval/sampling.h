// The choice of the next token from a model's logits.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>
#include <vector>

namespace qtune {

struct SamplingOptions {
  double temperature = 0;         // 0: greedy, the most likely token (ties: the lowest id)
  int64_t top_k = 0;              // sample among the k most likely; 0: all
  double top_p = 1;               // then among the fewest that hold this share of the probability, (0, 1]
  double min_p = 0;               // then among those at least this likely, measured by the likeliest, [0, 1]
  double repetition_penalty = 1;  // logits of tokens seen before: divided by it where positive, else multiplied
  uint64_t seed = 42;
};

/// The token that `options` choose from `logits`; `draw` in [0, 1) decides where it samples. -inf: never chosen.
/// The repetition penalty is not its business.
int32_t choose_token(std::span<const float> logits, const SamplingOptions& options, double draw);

void penalize_repetition(std::span<float> logits, const std::unordered_set<int32_t>& seen, double penalty);

}  // namespace qtune
