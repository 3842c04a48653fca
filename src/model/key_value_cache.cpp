// Generation: one forward pass behind what the cache holds.
#include <ATen/ops/empty.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tril.h>
#include <ATen/ops/triu.h>
#include <fmt/format.h>

#include "model_state.h"
#include "qtune/base/error.h"

namespace qtune {

KeyValueCache Model::make_cache(int64_t capacity) const {
  const ModelConfig& c = state_->config;
  KeyValueCache cache;
  for (int64_t i = 0; i < c.num_layers; ++i) {
    cache.keys.push_back(at::empty({capacity, c.num_kv_heads, c.head_dim}, state_->options.compute_dtype));
    cache.values.push_back(at::empty({capacity, c.num_kv_heads, c.head_dim}, state_->options.compute_dtype));
  }
  return cache;
}

at::Tensor Model::next_token_logits(const std::vector<int32_t>& ids, KeyValueCache& cache) {
  State& s = *state_;
  const ModelConfig& c = s.config;
  const int64_t n = static_cast<int64_t>(ids.size()), d = c.hidden_size, past = cache.length;
  if (n == 0 || (n > 1 && past > 0))
    throw Error("next_token_logits: expected one id, or any number with an empty cache");
  if (cache.keys.empty() || past + n > cache.keys[0].size(0)) {
    throw Error(fmt::format("next_token_logits: the cache is full ({} tokens)", past));
  }
  s.grow_rope_table(past + n);
  const at::Tensor ids_N = at::empty({n}, at::kInt), positions_N = at::empty({n}, at::kInt);
  for (int64_t i = 0; i < n; ++i) {
    ids_N.data_ptr<int32_t>()[i] = ids[static_cast<size_t>(i)];
    positions_N.data_ptr<int32_t>()[i] = static_cast<int32_t>(past + i);
  }
  const at::Tensor x = s.float_buffer("score.x_in", {n, d}), rstd = s.float_buffer("score.rstd_in", {n});
  const at::Tensor normed = s.buffer("normed", {n, d}), projected = s.buffer("projected", {n, d});
  const at::Tensor out = s.buffer("layer_out", {n, d});
  const SavedLayer saved = s.saved_buffers("score.", n);
  const at::Tensor gate_up = s.buffer("score.gate_up", {n, 2 * c.intermediate_size});
  const at::Tensor h = s.buffer("h", {n, c.intermediate_size});
  embed(s.weights.embedding.compute, ids_N, x);
  // One new token sees the window's keys; a prompt longer than the window needs a mask.
  const bool beyond_window = c.sliding_window > 0 && past + n > c.sliding_window;
  const int64_t first_key = beyond_window && n == 1 ? past + 1 - c.sliding_window : 0;
  std::optional<at::Tensor> mask;
  if (beyond_window && n > 1) mask = at::ones({n, n}, at::kBool).tril().triu(1 - c.sliding_window);
  at::Tensor delta;
  for (size_t i = 0; i < s.weights.layers.size(); ++i) {
    const LayerWeights& w = s.weights.layers[i];
    add_rms_norm(x, delta, x, w.input_norm.compute, c.rms_norm_eps, normed, rstd);
    s.project_qkv(w, normed, positions_N, saved);
    const at::Tensor heads = saved.qkv_NX.view({n, c.num_heads + 2 * c.num_kv_heads, c.head_dim});
    cache.keys[i].narrow(0, past, n).copy_(heads.narrow(1, c.num_heads, c.num_kv_heads));
    cache.values[i].narrow(0, past, n).copy_(heads.narrow(1, c.num_heads + c.num_kv_heads, c.num_kv_heads));
    const auto batched = [](const at::Tensor& t) { return t.transpose(0, 1).unsqueeze(0); };
    const at::Tensor attended = at::scaled_dot_product_attention(
        batched(heads.narrow(1, 0, c.num_heads)), batched(cache.keys[i].narrow(0, first_key, past + n - first_key)),
        batched(cache.values[i].narrow(0, first_key, past + n - first_key)), mask, 0.0, n > 1 && !mask, std::nullopt,
        true);
    s.project(w.out, attended.squeeze(0).transpose(0, 1).reshape({n, c.num_heads * c.head_dim}), projected);
    add_rms_norm(x, projected, x, w.post_norm.compute, c.rms_norm_eps, normed, rstd);
    s.project(w.gate_up, normed, gate_up);
    swiglu(gate_up, h);
    s.project(w.down, h, out);
    delta = out;
  }
  cache.length += n;
  accumulate(out, x);
  const at::Tensor last = x.narrow(0, n - 1, 1), hidden = s.buffer("hidden", {1, d});
  add_rms_norm(last, {}, last, s.weights.final_norm.compute, c.rms_norm_eps, hidden, s.float_buffer("rstd_rows", {1}));
  return at::mv(s.weights.head.compute, hidden.squeeze(0)).to(at::kFloat);
}

}  // namespace qtune
