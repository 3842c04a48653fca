// Causal self-attention over packed samples: no padding, and no token sees another sample.
//
// Legend: N packed tokens, B samples, H query heads, K key/value heads (H a multiple of K), E head dimension.
// qkv_NX (N, (H + 2K) * E): q heads, then k heads, then v heads, rotary already applied.
// Arithmetic inside is float32 for both compute dtypes on the CPU; on a GPU bfloat16 runs LibTorch's flash attention,
// float32 the plain twin.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace qtune {

struct AttentionShape {
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t window = 0;  // keys that a token sees, its own included (Mistral); 0: all before it
  int64_t qkv_width() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
  int64_t out_width() const { return num_heads * head_dim; }
};

/// Where samples begin and end among packed rows. A view for the length of a call.
struct SampleBorders {
  // Implicit, so that offsets alone will do where all is on the CPU.
  SampleBorders(const std::vector<int32_t>& offsets, at::Tensor device_offsets = {})
      : cu_seqlens(offsets), on_device(std::move(device_offsets)) {}
  const std::vector<int32_t>& cu_seqlens;  // B + 1 ascending offsets, first 0, last N (samples may be empty)
  at::Tensor on_device;                    // the same, int32, where the rows lie on another device
};

/// Tokens of the longest sample.
inline int64_t longest_sample(const std::vector<int32_t>& cu_seqlens) {
  int64_t longest = 0;
  for (size_t b = 1; b < cu_seqlens.size(); ++b) {
    longest = std::max<int64_t>(longest, cu_seqlens[b] - cu_seqlens[b - 1]);
  }
  return longest;
}

/// out = softmax(q k^T / sqrt(E)) v, causal within each sample, over the window.
/// Out: out (N, H * E) compute dtype; logsumexp_HN (H, N) float32, saved for the backward.
/// Cost: each sample's (T, T) scores exist one tile at a time.
void attention(const at::Tensor& qkv_NX, const SampleBorders& borders, const AttentionShape& shape,
               const at::Tensor& out, const at::Tensor& logsumexp_HN);

/// dqkv (N, X), overwritten, from dout (N, H * E) and what the forward saved. dqkv must not be qkv.
void attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                        const at::Tensor& logsumexp_HN, const SampleBorders& borders, const AttentionShape& shape,
                        const at::Tensor& dqkv_NX);

}  // namespace qtune
