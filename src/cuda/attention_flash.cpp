// LibTorch's variable-length flash attention (bfloat16): samples packed end to end, cu_seqlens on the device, the
// sliding window as its left window.
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty.h>

#include "kernel_ops.h"

namespace qtune {
namespace {

struct Heads {
  at::Tensor q_NHE, k_NKE, v_NKE;
};

Heads heads_of(const at::Tensor& qkv_NX, const AttentionShape& shape) {
  const int64_t h = shape.num_heads, k = shape.num_kv_heads;
  const at::Tensor all = qkv_NX.view({qkv_NX.size(0), h + 2 * k, shape.head_dim});
  return {all.narrow(1, 0, h), all.narrow(1, h, k), all.narrow(1, h + k, k)};
}

/// Keys to the left that a token sees besides itself.
std::optional<int64_t> left_window(const AttentionShape& shape) {
  return shape.window > 0 ? std::optional<int64_t>(shape.window - 1) : std::nullopt;
}
std::optional<int64_t> right_window(const AttentionShape& shape) {
  return shape.window > 0 ? std::optional<int64_t>(0) : std::nullopt;
}

}  // namespace

void KernelOps::attention(const at::Tensor& qkv_NX, const SampleBorders& borders, const AttentionShape& shape,
                          const at::Tensor& out, const at::Tensor& logsumexp_HN) const {
  if (qkv_NX.size(0) == 0) return;
  const Heads heads = heads_of(qkv_NX, shape);
  const int64_t most = longest_sample(borders.cu_seqlens);
  const auto [result, logsumexp, rng_state, unused, mask] = at::_flash_attention_forward(
      heads.q_NHE, heads.k_NKE, heads.v_NKE, borders.on_device, borders.on_device, most, most, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, /*scale=*/std::nullopt, left_window(shape), right_window(shape));
  out.view(result.sizes()).copy_(result);
  logsumexp_HN.copy_(logsumexp);
}

void KernelOps::attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                                   const at::Tensor& logsumexp_HN, const SampleBorders& borders,
                                   const AttentionShape& shape, const at::Tensor& dqkv_NX) const {
  if (qkv_NX.size(0) == 0) return;
  const Heads heads = heads_of(qkv_NX, shape), gradients = heads_of(dqkv_NX, shape);
  const int64_t most = longest_sample(borders.cu_seqlens);
  const at::Tensor no_dropout = at::empty({2}, qkv_NX.options().dtype(at::kUInt64));
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      dout.view(heads.q_NHE.sizes()), heads.q_NHE, heads.k_NKE, heads.v_NKE, out.view(heads.q_NHE.sizes()),
      logsumexp_HN, borders.on_device, borders.on_device, most, most, /*dropout_p=*/0.0, /*is_causal=*/true, no_dropout,
      at::empty({0}, no_dropout.options()), /*scale=*/std::nullopt, left_window(shape), right_window(shape));
  gradients.q_NHE.copy_(dq);
  gradients.k_NKE.copy_(dk);
  gradients.v_NKE.copy_(dv);
}

}  // namespace qtune
