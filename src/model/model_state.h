// What a Model holds, shared by the files that implement it: model.cpp (loading, score and training pass) and
// key_value_cache.cpp (generation).
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include "qtune/base/rng.h"
#include "qtune/model/model.h"
#include "qtune/ops/attention.h"
#include "qtune/ops/elementwise.h"
#include "qtune/ops/head_norm.h"
#include "qtune/ops/linear.h"
#include "qtune/ops/rope.h"
#include "weights.h"
#include "workspace.h"

namespace qtune {

/// What a layer's forward leaves for its backward. Everything else is computed again.
struct SavedLayer {
  at::Tensor x_in_ND, x_mid_ND;  // residual stream before attention and before the feed-forward part, float32
  at::Tensor rstd_in_N, rstd_mid_N;
  at::Tensor qkv_NX, attention_NW, logsumexp_HN;
  at::Tensor raw_qk_NY, rstd_qk_NZ;  // with qk_norm: q and k before it
  at::Tensor gate_up_N2F;
};

/// Nobody asks for the gradient of the first layer's input where the embedding is frozen.
enum class InputGradient { kComputed, kSkipped };

struct Model::State {
  ModelConfig config;
  ModelOptions options;
  ModelWeightTensors weights;
  AttentionShape attention_shape;
  at::Tensor rope_table;
  Workspace workspace;
  uint64_t step = 0, num_passes = 0;  // training passes since start_step
  bool drops = false;                 // within a training pass
  bool has_fp8_weights = false;
  bool on_fp8 = false;  // within a score pass on 8-bit floats

  at::Tensor buffer(const std::string& name, at::IntArrayRef shape) {
    return workspace.get(name, shape, options.compute_dtype);
  }
  at::Tensor float_buffer(const std::string& name, at::IntArrayRef shape) {
    return workspace.get(name, shape, at::kFloat);
  }
  /// Weight gradients pass through this in bfloat16 before they are added in float32.
  at::Tensor gradient_scratch(const at::Tensor& gradient) {
    const bool needed = options.compute_dtype != at::kFloat && options.device.is_cpu();
    return needed ? buffer("gradient_scratch", gradient.sizes()) : at::Tensor();
  }

  /// The rotary table reaches as far as the longest sample so far, not as far as the model could.
  void grow_rope_table(int64_t num_positions) {
    if (rope_table.defined() && num_positions <= rope_table.size(0)) return;
    const int64_t doubled = rope_table.defined() ? 2 * rope_table.size(0) : 0;
    const auto frequencies = rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling);
    rope_table = make_rope_table(std::max(num_positions, doubled), frequencies).to(options.device);
  }
  void grow_rope_table(const PackedTokens& batch) { grow_rope_table(longest_sample(batch.cu_seqlens)); }

  /// q, k and v of a layer, ready for attention, into saved.qkv_NX.
  void project_qkv(const LayerWeights& w, const at::Tensor& normed_ND, const at::Tensor& positions_N,
                   const SavedLayer& saved);
  /// dqkv_NX: gradients of what project_qkv gave on entry, of the projection's own outputs on return.
  void project_qkv_backward(const LayerWeights& w, const at::Tensor& positions_N, const SavedLayer& saved,
                            const at::Tensor& dqkv_NX);
  SavedLayer saved_buffers(const std::string& prefix, int64_t n);
  /// Fills `saved`: all that the layer's backward needs.
  void forward_saved(const LayerWeights& w, const PackedTokens& batch, const at::Tensor& x_ND,
                     const at::Tensor& delta_ND, const SavedLayer& saved);
  void forward_layer(const LayerWeights& w, const PackedTokens& batch, const at::Tensor& x_ND,
                     const at::Tensor& delta_ND, const SavedLayer& saved, const at::Tensor& out_ND);
  RowScores forward_backward(const PackedTokens& batch, const std::function<void(int64_t)>& layer_done);
  void backward_layer(const LayerWeights& w, const PackedTokens& batch, const SavedLayer& saved,
                      const at::Tensor& dx_ND, InputGradient input_gradient);

  // Linear layers, with their adapters: lora.cpp.

  /// y = x W^T, and the adapters' part.
  void project(const LinearWeights& w, const at::Tensor& x, const at::Tensor& y);
  /// du, the gradients of the adapters' inner values (a buffer of the workspace; undefined: no adapter). The two below
  /// need it.
  at::Tensor project_inner_gradient(const LinearWeights& w, const at::Tensor& dy);
  /// dx = dy W, and the adapters' part.
  void project_input_gradient(const LinearWeights& w, const at::Tensor& dy, const at::Tensor& du, const at::Tensor& dx);
  /// Gradients of the weight, or of its adapters.
  void project_weight_gradient(const LinearWeights& w, const at::Tensor& dy, const at::Tensor& x, const at::Tensor& du);
  at::Tensor lora_inner(const LoraWeights& lora, const at::Tensor& x);
  void weight_gradient(const WeightTensors& w, const at::Tensor& dy, const at::Tensor& x) {
    linear_weight_gradient(dy, x, w.gradient, gradient_scratch(w.gradient));
  }
  std::optional<DropoutStream> dropout_of(uint64_t module) const {
    if (!weights.lora || weights.lora->dropout == 0) return std::nullopt;
    return DropoutStream{.seed = mix64(mix64(options.adapter->seed + step) + num_passes), .stream = module};
  }
};

}  // namespace qtune
