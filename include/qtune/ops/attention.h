// Causal self-attention over packed samples on the CPU: no padding, and no token sees another sample.
//
// Legend: N packed tokens, B samples, H query heads, K key/value heads (H a multiple of K), E head dimension.
// qkv_NX (N, (H + 2K) * E): q heads, then k heads, then v heads, rotary already applied.
// Arithmetic inside is float32 for both compute dtypes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace qtune {

struct AttentionShape {
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t window = 0;  // keys that a token sees, its own included (Mistral); 0: all before it
  int64_t qkv_width() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
  int64_t out_width() const { return num_heads * head_dim; }
};

/// out = softmax(q k^T / sqrt(E)) v, causal within each sample, over the window.
/// cu_seqlens: B + 1 ascending offsets, first 0, last N (samples may be empty).
/// Out: out (N, H * E) compute dtype; logsumexp_HN (H, N) float32, saved for the backward.
/// Cost: each sample's (T, T) scores exist one tile at a time.
void attention(const at::Tensor& qkv_NX, const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
               const at::Tensor& out, const at::Tensor& logsumexp_HN);

/// dqkv (N, X), overwritten, from dout (N, H * E) and what the forward saved. dqkv must not be qkv.
void attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                        const at::Tensor& logsumexp_HN, const std::vector<int32_t>& cu_seqlens,
                        const AttentionShape& shape, const at::Tensor& dqkv_NX);

}  // namespace qtune
