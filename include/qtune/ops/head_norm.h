// RMSNorm of each query and key head by itself (Qwen3's q_norm and k_norm), before the rotary positions.
//
// Legend: N packed tokens, H query heads, K key/value heads, E head dimension, X = (H + 2K) * E.
#pragma once

#include <ATen/core/Tensor.h>

namespace qtune {

struct HeadNormWeights {
  at::Tensor query_E, key_E;  // float32
};

/// Normalises the q and k heads of qkv_NX (N, X), compute dtype, in place. For the backward raw_NY (N, (H + K) * E),
/// compute dtype, gets them as they were, and rstd_NZ (N, H + K), float32, 1 / rms of each.
void head_rms_norm(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                   double epsilon, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ);

/// dqkv_NX (N, X): gradients of the normalised q and k heads become those of the raw ones, in place.
/// dweights (float32) are added to, unless undefined (frozen weights).
void head_rms_norm_backward(const at::Tensor& dqkv_NX, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ,
                            const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                            const HeadNormWeights& dweights);

}  // namespace qtune
