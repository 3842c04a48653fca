// How much attention the tokens of a sample receive from later ones at one layer: FastV's and SparseVLM's measures of a
// token's use, carried over from images to text as the Q-Tuning paper does for its baselines.
//
// What is carried over. In both papers the tokens that may go are an image's, all of them stand before the text that
// asks about it, and what counts is the attention that they receive at an early layer. Here the tokens that may go are
// a sample's trainable ones. They stand among each other, so attention comes from the tokens behind, trainable or not,
// of the same sample; a token's own attention to itself says nothing of its use and is left out. In an image every
// token has the same observers, and a sum ranks as a mean does; in text later tokens have fewer, so we take the mean
// over those that can see the token. What is not carried over: that pruned tokens leave the computation (here they
// leave the loss or the text, pruning.token.mode), SparseVLM's share by the matrix's rank (the budget is
// pruning.token.keep), its merging of pruned tokens, and its several layers (one: pruning.token.layer).
//
// Legend: A(q, k) attention of token q to token k at the layer, softmax over k, mean over the heads; T(x) the
// trainable positions of a sample.
#pragma once

#include <ATen/core/Tensor.h>

#include "qtune/model/packed_tokens.h"
#include "qtune/ops/attention.h"

namespace qtune {

enum class AttentionRule {
  /// FastV (Chen et al. 2024, arXiv 2403.06764, section 4.1: "the average attention-score one token received from all
  /// other tokens"): mean of A(q, k) over all q > k that see k.
  kFastV,
  /// SparseVLM (Zhang et al. 2025, arXiv 2410.04417, section 3.2): raters first, tokens that look at what may be pruned
  /// more than the average does. Relevance of q: the sum of A(q, k) over the k of T(x) before it. Raters of a sample:
  /// those q behind its first trainable token whose relevance is at least the mean of theirs. Then the mean of A(q, k)
  /// over the raters q > k that see k. In the paper raters are tokens of the prompt, which follows the image; a prompt
  /// stands before its answer and can't see it.
  kSparseVlm,
};

/// (M) float32, of each target of `batch` (which lies on the host, or is the batch itself on the CPU). qkv_NX: as
/// attention() takes it, on any device; the result lies there.
/// Ties and ends: a token that no later one sees (the last token of a sample is no input at all) or, by kSparseVlm, no
/// rater, gets 0.
/// Cost: one layer's scores once more (kSparseVlm: twice), (H, 64, T) floats at a time.
at::Tensor attention_received(const at::Tensor& qkv_NX, const PackedTokens& batch, const AttentionShape& shape,
                              AttentionRule rule);

}  // namespace qtune
