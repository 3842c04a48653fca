// Generation: one forward pass of new tokens behind what their sequences' caches hold.
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>

#include "model_state.h"
#include "qtune/base/error.h"
#include "qtune/ops/cached_attention.h"

namespace qtune {
namespace {

constexpr int64_t kSmallestCapacity = 64;

/// Room for `count` more tokens: what the window has passed goes first, then the buffers double.
void reserve(KeyValueCache& cache, int64_t count) {
  const int64_t capacity = cache.keys[0].size(0), held = cache.length - cache.first;
  if (held + count <= capacity) return;
  // The next token sees the window's last `window - 1` tokens and itself.
  const int64_t kept = cache.window > 0 ? std::min(held, cache.window - 1) : held;
  // Moving pays only where at least as much is dropped as stays.
  const bool fits = kept + count <= capacity && held - kept >= kept;
  const int64_t grown = fits ? capacity : std::max({kSmallestCapacity, 2 * capacity, kept + count});
  for (auto* tensors : {&cache.keys, &cache.values}) {
    for (at::Tensor& t : *tensors) {
      const at::Tensor rows = t.narrow(0, held - kept, kept);
      at::Tensor target = fits ? t : at::empty({grown, t.size(1), t.size(2)}, t.options());
      target.narrow(0, 0, kept).copy_(rows);
      t = target;
    }
  }
  cache.first = cache.length - kept;
}

/// New tokens of all sequences, packed.
struct NewTokens {
  at::Tensor ids_N, positions_N;  // int32
  at::Tensor last_S;              // each sequence's last row
  std::vector<CachedRows> rows;   // their caches are still to be filled in
  int64_t num_positions = 0;      // furthest position + 1

  void to(at::Device device, int64_t vocab_size) {
    if (device.is_cpu()) return;
    check_ids("token id", ids_N, vocab_size);
    const std::vector<at::Tensor> copies = copy_together({ids_N, positions_N, last_S}, device);
    ids_N = copies[0];
    positions_N = copies[1];
    last_S = copies[2];
  }
};

NewTokens pack(const std::vector<SequenceTokens>& sequences) {
  std::vector<int32_t> ids, positions, last;
  NewTokens tokens;
  for (const SequenceTokens& sequence : sequences) {
    if (sequence.ids.empty()) throw Error("next_token_logits: expected at least one id, found none");
    tokens.rows.push_back(
        {.first_row = static_cast<int64_t>(ids.size()), .num_rows = static_cast<int64_t>(sequence.ids.size())});
    ids.insert(ids.end(), sequence.ids.begin(), sequence.ids.end());
    int64_t position = sequence.cache->length;
    while (positions.size() < ids.size()) positions.push_back(static_cast<int32_t>(position++));
    last.push_back(static_cast<int32_t>(ids.size()) - 1);
    tokens.num_positions = std::max(tokens.num_positions, position);
  }
  tokens.ids_N = at::tensor(ids, at::kInt);
  tokens.positions_N = at::tensor(positions, at::kInt);
  tokens.last_S = at::tensor(last, at::kInt);
  return tokens;
}

}  // namespace

int64_t KeyValueCache::truncate(int64_t num_tokens) {
  if (num_tokens >= length) return length;
  const bool seen_is_held = first == 0 || (window > 0 && num_tokens - (window - 1) >= first);
  length = seen_is_held ? num_tokens : 0;
  if (!seen_is_held) first = 0;
  return length;
}

KeyValueCache KeyValueCache::clone() const {
  KeyValueCache copy = *this;
  for (auto* tensors : {&copy.keys, &copy.values}) {
    for (at::Tensor& t : *tensors) t = t.clone();
  }
  return copy;
}

KeyValueCache Model::make_cache() const {
  const ModelConfig& c = state_->config;
  KeyValueCache cache{.window = c.sliding_window};
  for (int64_t i = 0; i < c.num_layers; ++i) {
    for (auto* tensors : {&cache.keys, &cache.values}) {
      tensors->push_back(at::empty({0, c.num_kv_heads, c.head_dim},
                                   at::TensorOptions(state_->options.compute_dtype).device(state_->options.device)));
    }
  }
  return cache;
}

at::Tensor Model::next_token_logits(const std::vector<SequenceTokens>& sequences) {
  State& s = *state_;
  const ModelConfig& c = s.config;
  NewTokens tokens = pack(sequences);
  tokens.to(s.options.device, c.vocab_size);
  std::vector<CachedRows>& rows = tokens.rows;
  const int64_t n = tokens.ids_N.size(0), d = c.hidden_size, num_sequences = static_cast<int64_t>(rows.size());
  s.grow_rope_table(tokens.num_positions);
  SavedLayer saved = s.saved_buffers("score.", n);
  saved.x_mid_ND = saved.x_in_ND;
  embed(s.weights.embedding.compute, tokens.ids_N, saved.x_in_ND);
  for (size_t k = 0; k < rows.size(); ++k) {
    KeyValueCache& cache = *sequences[k].cache;
    reserve(cache, rows[k].num_rows);
    rows[k].num_cached = cache.length - cache.first;
  }
  const at::Tensor out = s.buffer("layer_out", {n, d});
  at::Tensor delta;
  for (size_t i = 0; i < s.weights.layers.size(); ++i) {
    for (size_t k = 0; k < rows.size(); ++k) {
      rows[k].keys_CKE = sequences[k].cache->keys[i];
      rows[k].values_CKE = sequences[k].cache->values[i];
    }
    const LayerWeights& w = s.weights.layers[i];
    const at::Tensor normed = s.buffer("normed", {n, d}), projected = s.buffer("projected", {n, d});
    add_rms_norm(saved.x_in_ND, delta, saved.x_in_ND, w.input_norm.compute, c.rms_norm_eps, normed, saved.rstd_in_N);
    s.project_qkv(w, normed, tokens.positions_N, saved);
    cached_attention(saved.qkv_NX, rows, s.attention_shape, saved.attention_NW);
    s.project(w.out, saved.attention_NW, projected);
    add_rms_norm(saved.x_in_ND, projected, saved.x_mid_ND, w.post_norm.compute, c.rms_norm_eps, normed,
                 saved.rstd_mid_N);
    s.project(w.gate_up, normed, saved.gate_up_N2F);
    const at::Tensor h = s.buffer("h", {n, c.intermediate_size});
    swiglu(saved.gate_up_N2F, h);
    s.project(w.down, h, out);
    delta = out;
  }
  for (size_t k = 0; k < rows.size(); ++k) sequences[k].cache->length += rows[k].num_rows;
  accumulate(out, saved.x_in_ND);
  const at::Tensor x_SD = s.float_buffer("x_rows", {num_sequences, d}),
                   hidden_SD = s.buffer("hidden", {num_sequences, d});
  gather_rows(saved.x_in_ND, tokens.last_S, x_SD);
  add_rms_norm(x_SD, {}, x_SD, s.weights.final_norm.compute, c.rms_norm_eps, hidden_SD,
               s.float_buffer("rstd_rows", {num_sequences}));
  const at::Tensor logits_SV = s.buffer("next_logits", {num_sequences, c.vocab_size});
  linear(hidden_SD, s.weights.head.compute, logits_SV);
  if (logits_SV.scalar_type() == at::kFloat) return logits_SV.to(at::kCPU);
  const at::Tensor floats_SV = s.float_buffer("next_logits_float", logits_SV.sizes());
  convert_into(logits_SV, floats_SV);
  return floats_SV.to(at::kCPU);
}

at::Tensor Model::next_token_logits(const std::vector<int32_t>& ids, KeyValueCache& cache) {
  return next_token_logits({{.ids = ids, .cache = &cache}}).squeeze(0);
}

}  // namespace qtune
