// The language-model head fused with cross entropy and predictive entropy: from hidden states straight to per-row
// scores, in chunks of rows, so that the (N, V) logits never exist.
//
// Legend: N rows (only those that predict a trainable token), D hidden size, V vocabulary.
// Paper: PPL and Ent need nll and the full-vocabulary entropy of each answer token (section 4).
#pragma once

#include <ATen/core/Tensor.h>

namespace qtune {

struct RowScores {
  at::Tensor nll_N, entropy_N, logsumexp_N;  // (N) float32, nats; entropy is never negative
};

/// Scores without gradients. hidden_ND (N, D) and head_VD (V, D) in the compute dtype; targets_N (N) int32 in 0..V-1.
/// Empty: N = 0 gives empty tensors. Throws: on the CPU, Error naming the row of a target outside the vocabulary
/// (for a GPU, model/packed_tokens.h checks them before they are sent).
/// A row with a non-finite logit gives non-finite scores (the caller names the sample).
RowScores linear_cross_entropy(const at::Tensor& hidden_ND, const at::Tensor& head_VD, const at::Tensor& targets_N);

/// Scores and both gradients of the SUM of weight * nll over the rows (the caller divides once, by the global count):
/// dhidden_ND (N, D) compute dtype is overwritten, dhead_VD (V, D) float32 is added to,
/// unless undefined (a frozen head). weights_N (N) float32; undefined: all 1. The nll that is returned has no weight.
RowScores linear_cross_entropy_backward(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                        const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                        const at::Tensor& dhead_VD, const at::Tensor& weights_N = {});

}  // namespace qtune
