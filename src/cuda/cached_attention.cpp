// Attention of new tokens over the caches, for generation: LibTorch's SDPA, a sequence at a time.
#include <ATen/ops/arange.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include "kernel_ops.h"

namespace qtune {
namespace {

/// (R, K), true where new row i may see key j; undefined where one row sees all.
at::Tensor visible_keys(const at::Tensor& like, int64_t num_rows, int64_t num_keys, int64_t window) {
  if (num_rows == 1 && (window == 0 || num_keys <= window)) return {};
  const auto options = like.options().dtype(at::kLong);
  const at::Tensor last = at::arange(num_keys - num_rows, num_keys, options).unsqueeze(1);
  const at::Tensor keys = at::arange(num_keys, options).unsqueeze(0);
  const at::Tensor visible = keys.le(last);
  return window == 0 ? visible : visible.logical_and(keys.gt(last.sub(window)));
}

}  // namespace

void KernelOps::cached_attention(const at::Tensor& qkv_NX, const std::vector<CachedRows>& sequences,
                                 const AttentionShape& shape, const at::Tensor& out) const {
  const int64_t h = shape.num_heads, k = shape.num_kv_heads, e = shape.head_dim;
  const at::Tensor heads = qkv_NX.view({qkv_NX.size(0), h + 2 * k, e});
  for (const CachedRows& s : sequences) {
    const at::Tensor rows = heads.narrow(0, s.first_row, s.num_rows);
    const int64_t num_keys = s.num_cached + s.num_rows;
    s.keys_CKE.narrow(0, s.num_cached, s.num_rows).copy_(rows.narrow(1, h, k));
    s.values_CKE.narrow(0, s.num_cached, s.num_rows).copy_(rows.narrow(1, h + k, k));
    const auto batch_of = [](const at::Tensor& t) { return t.transpose(0, 1).unsqueeze(0); };  // (1, heads, rows, E)
    const at::Tensor mask = visible_keys(qkv_NX, s.num_rows, num_keys, shape.window);
    const at::Tensor attended = at::scaled_dot_product_attention(
        batch_of(rows.narrow(1, 0, h)), batch_of(s.keys_CKE.narrow(0, 0, num_keys)),
        batch_of(s.values_CKE.narrow(0, 0, num_keys)), mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt,
        /*dropout_p=*/0.0, /*is_causal=*/false,
        /*scale=*/std::nullopt, /*enable_gqa=*/h != k);
    out.narrow(0, s.first_row, s.num_rows).view({s.num_rows, h, e}).copy_(attended.squeeze(0).transpose(0, 1));
  }
}

}  // namespace qtune
