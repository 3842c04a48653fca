// Causal self-attention of new tokens over what their sequences' caches hold, for generation.
//
// Legend: N new tokens of all sequences, packed; H query heads, K key/value heads, E head dimension, C a cache's
// capacity.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "qtune/ops/attention.h"

namespace qtune {

/// New rows of one sequence and its cache.
struct CachedRows {
  int64_t first_row = 0, num_rows = 0;  // among the N
  int64_t num_cached = 0;               // rows of the cache in use before these
  at::Tensor keys_CKE, values_CKE;      // compute dtype; C at least num_cached + num_rows
};

/// Writes each sequence's new keys and values behind those in its cache, then
/// out = softmax(q k^T / sqrt(E)) v over the cache, causal, over the window.
/// Shapes: qkv_NX as attention() has it; out (N, H * E). The sequences' rows are ascending and cover all N.
void cached_attention(const at::Tensor& qkv_NX, const std::vector<CachedRows>& sequences, const AttentionShape& shape,
                      const at::Tensor& out);

}  // namespace qtune
