#include "qtune/model/reference.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "qtune/base/error.h"
#include "qtune/ops/reference.h"

namespace qtune {
namespace {

/// Weights by checkpoint name: float32 with the values that the compute dtype holds, so that the gradients of a weight
/// that is used twice are added in float32.
using Leaves = std::map<std::string, at::Tensor>;

Leaves make_leaves(Model& model, bool requires_grad) {
  Leaves leaves;
  for (const Parameter& p : model.base_parameters()) leaves[p.name] = p.compute.to(at::kFloat).detach();
  for (const Parameter& p : model.parameters()) {
    leaves[p.name] = p.compute.to(at::kFloat).detach().set_requires_grad(requires_grad);
  }
  return leaves;
}

/// y = x W^T in the compute dtype.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight) { return at::linear(x, weight.to(x.scalar_type())); }

enum class Pass { kScore, kTraining };  // dropout is for training

/// The linear layers of a decoder layer, with their adapters.
class Projections {
 public:
  Projections(const Model& model, const Leaves& leaves, Pass pass) : model_(model), leaves_(leaves), pass_(pass) {}

  at::Tensor operator()(const std::string& name, const at::Tensor& x) {
    const at::Tensor y = project(x, leaves_.at(name + ".weight"));
    const auto a = leaves_.find(lora_a_name(name));
    if (a == leaves_.end()) return y;
    const std::optional<DropoutStream> stream = model_.dropout_of(num_modules_++);
    at::Tensor seen = x;
    if (pass_ == Pass::kTraining && stream) {
      const at::Tensor mask = at::ones(x.sizes(), x.options().dtype(at::kFloat));
      dropout(mask, model_.lora()->dropout, *stream, mask);
      seen = (x * mask).to(x.scalar_type());
    }
    const at::Tensor u = (project(seen, a->second) * model_.lora()->scale()).to(x.scalar_type());
    return y + project(u, leaves_.at(lora_b_name(name)));
  }

 private:
  const Model& model_;
  const Leaves& leaves_;
  Pass pass_;
  uint64_t num_modules_ = 0;
};

/// The residual stream behind a layer, from the one before it.
at::Tensor layer(const Leaves& leaves, Projections& projections, int64_t index, const ModelConfig& c,
                 at::ScalarType dtype, const PackedTokens& batch, const at::Tensor& rope_table,
                 const at::Tensor& x_in_ND) {
  const auto weight = [&](const char* name) {
    return leaves.at(fmt::format("model.layers.{}.{}.weight", index, name));
  };
  const auto linear_of = [&](const char* name, const at::Tensor& x) {
    return projections(fmt::format("model.layers.{}.{}", index, name), x);
  };
  const AttentionShape shape{
      .num_heads = c.num_heads, .num_kv_heads = c.num_kv_heads, .head_dim = c.head_dim, .window = c.sliding_window};
  const at::Tensor normed = rms_norm_formula(x_in_ND, weight("input_layernorm"), c.rms_norm_eps).to(dtype);
  const at::Tensor q = linear_of("self_attn.q_proj", normed), k = linear_of("self_attn.k_proj", normed);
  at::Tensor qkv = at::cat({q, k, linear_of("self_attn.v_proj", normed)}, 1);
  if (c.qkv_bias) {
    const auto bias = [&](const char* name) {
      return leaves.at(fmt::format("model.layers.{}.self_attn.{}.bias", index, name));
    };
    qkv = (qkv + at::cat({bias("q_proj"), bias("k_proj"), bias("v_proj")})).to(dtype);
  }
  if (c.qk_norm) {
    const HeadNormWeights norms{.query_E = weight("self_attn.q_norm"), .key_E = weight("self_attn.k_norm")};
    qkv = head_rms_norm_formula(qkv, norms, c.num_heads, c.num_kv_heads, c.rms_norm_eps).to(dtype);
  }
  const at::Tensor rotated = rope_formula(qkv, batch.positions_N, rope_table, c.num_heads, c.num_kv_heads).to(dtype);
  const at::Tensor attended = attention_formula(rotated, batch.cu_seqlens, shape).out.to(dtype);
  const at::Tensor x_mid_ND = x_in_ND + linear_of("self_attn.o_proj", attended);
  const at::Tensor normed_mid =
      rms_norm_formula(x_mid_ND, weight("post_attention_layernorm"), c.rms_norm_eps).to(dtype);
  const at::Tensor gate = linear_of("mlp.gate_proj", normed_mid);
  const at::Tensor gate_up = at::cat({gate, linear_of("mlp.up_proj", normed_mid)}, 1);
  return x_mid_ND + linear_of("mlp.down_proj", swiglu_formula(gate_up).to(dtype));
}

RowScores forward(Model& model, const Leaves& leaves, Pass pass, const PackedTokens& batch) {
  Projections projections(model, leaves, pass);
  const ModelConfig& c = model.config();
  const at::ScalarType dtype = model.options().compute_dtype;
  if (batch.ids_N.is_cpu()) {  // on a GPU to_device() has looked
    check_ids("reference: token id", batch.ids_N, c.vocab_size);
    check_ids("reference: target", batch.targets_M, c.vocab_size);
  }
  const at::Tensor table = make_rope_table_reference(batch.num_tokens(), c.head_dim, c.rope_theta, c.rope_scaling)
                               .to(model.options().device);
  const at::Tensor& embedding = leaves.at("model.embed_tokens.weight");
  at::Tensor x_ND = embedding.index_select(0, batch.ids_N);
  for (int64_t i = 0; i < c.num_layers; ++i) x_ND = layer(leaves, projections, i, c, dtype, batch, table, x_ND);
  const at::Tensor x_MD = x_ND.index_select(0, batch.rows_M);
  const at::Tensor hidden_MD = rms_norm_formula(x_MD, leaves.at("model.norm.weight"), c.rms_norm_eps).to(dtype);
  return token_score_formula(project(hidden_MD, c.tied_embeddings ? embedding : leaves.at("lm_head.weight")),
                             batch.targets_M);
}

}  // namespace

RowScores score_reference(Model& model, const PackedTokens& batch) {
  const at::NoGradGuard no_grad;
  return forward(model, make_leaves(model, false), Pass::kScore, batch);
}

RowScores forward_backward_reference(Model& model, const PackedTokens& batch) {
  if (model.options().use != ModelUse::kTraining) {
    throw Error("forward_backward_reference: the model was loaded for inference");
  }
  const c10::AutoGradMode with_grad(true);
  const Leaves leaves = make_leaves(model, true);
  const RowScores scores = forward(model, leaves, Pass::kTraining, batch);
  (batch.weights_M.defined() ? scores.nll_N * batch.weights_M : scores.nll_N).sum().backward();
  for (const Parameter& p : model.parameters()) {
    if (const at::Tensor& gradient = leaves.at(p.name).grad(); gradient.defined()) p.gradient.add_(gradient);
  }
  return {scores.nll_N.detach(), scores.entropy_N.detach(), scores.logsumexp_N.detach()};
}

}  // namespace qtune
