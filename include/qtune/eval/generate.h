// Text generation, token by token, with a key/value cache.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "qtune/model/model.h"

namespace qtune {

struct GenerateOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0;  // 0: greedy, the most likely token (ties: the lowest id)
  int64_t top_k = 0;       // sample among the k most likely; 0: all
  double top_p = 1;        // then among the fewest that hold this share of the probability, (0, 1]
  uint64_t seed = 42;
  std::vector<int32_t> stop_ids;  // generation ends behind any of these; the stop token is returned too
};

/// New tokens that follow `prompt_ids`. on_token is called with each as it comes; returning false ends the generation.
/// Ends at a stop token, after max_new_tokens, or where the model's positions end.
/// Throws: Error for an empty prompt, or one as long as the model's positions or longer; NonFiniteError for logits that
/// are not finite.
std::vector<int32_t> generate(Model& model, const std::vector<int32_t>& prompt_ids, const GenerateOptions& options,
                              const std::function<bool(int32_t)>& on_token);

/// The token that `options` choose from `logits`; `draw` in [0, 1) decides where it samples.
int32_t choose_token(std::vector<float> logits, const GenerateOptions& options, double draw);

}  // namespace qtune
