// How likely a model finds given texts.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "qtune/model/model.h"

namespace qtune {

/// Continuations of one context; both at least one token.
struct ContinuationRequest {
  std::vector<int32_t> context;
  std::vector<std::vector<int32_t>> continuations;
};

/// The sum of ln p(token | all before it) over each continuation's tokens, for each request. The context is computed
/// once for all its continuations. About `batch_size` continuations are computed at a time, of contexts that are alike
/// in length. `on_done` is called with each request's index and its sums, as soon as they are there.
/// A context that does not fit the model's positions with its longest continuation is cut at its start, as in lm-eval.
/// Throws: Error for an empty context or continuation; NonFiniteError.
void continuation_logprobs(Model& model, std::span<const ContinuationRequest> requests, int64_t batch_size,
                           const std::function<void(size_t index, const std::vector<double>& logprobs)>& on_done);

/// -sum ln p over all tokens of each text but the first, divided by the number of its tokens (OpenCompass' get_ppl).
/// Throws: Error for a text of fewer than two tokens; NonFiniteError.
std::vector<double> whole_text_nll(Model& model, const std::vector<std::vector<int32_t>>& texts);

}  // namespace qtune
