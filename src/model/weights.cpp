#include "weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "qtune/base/error.h"
#include "qtune/ops/elementwise.h"

namespace qtune {
namespace {

WeightTensors allocate(at::IntArrayRef shape, at::ScalarType dtype, ModelUse use) {
  WeightTensors w;
  w.compute = at::empty(shape, dtype);
  if (use == ModelUse::kTraining) {
    w.master = dtype == at::kFloat ? w.compute : at::empty(shape, at::kFloat);
    w.gradient = at::zeros(shape, at::kFloat);
  }
  return w;
}

void read_values(const TensorView& view, const at::Tensor& target) {
  const auto out = [](const at::Tensor& t) {
    return std::span<float>(t.data_ptr<float>(), static_cast<size_t>(t.numel()));
  };
  if (target.scalar_type() == at::kFloat) {
    to_floats(view.bytes, view.dtype, out(target));
  } else if (view.dtype == Dtype::kBF16) {
    std::memcpy(target.data_ptr(), view.bytes.data(), view.bytes.size());
  } else {
    const at::Tensor floats = at::empty(target.sizes(), at::kFloat);
    to_floats(view.bytes, view.dtype, out(floats));
    convert_into(floats, target);
  }
}

/// Reads tensors by name and remembers which were asked for.
class Loader {
 public:
  Loader(const std::filesystem::path& folder, ModelWeightTensors& target) : weights_(folder), target_(target) {}

  /// Fills rows [first_row, first_row + rows) of `whole` (all of a vector) and lists them as a parameter.
  void load(const std::string& name, const WeightTensors& whole, int64_t first_row, int64_t rows) {
    Parameter p{.name = name};
    const auto part = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, first_row, rows) : t; };
    p.compute = part(whole.compute);
    p.master = part(whole.master);
    p.gradient = part(whole.gradient);
    const TensorView* view = weights_.find(name);
    if (view == nullptr) {
      throw CheckpointError(
          fmt::format("{}: tensor {} is missing ---> config.json promises it: the folder holds another "
                      "model's weights or not all shards",
                      weights_.folder().string(), name));
    }
    if (at::IntArrayRef(view->shape) != p.compute.sizes()) {
      throw CheckpointError(fmt::format("{}: tensor {}: expected shape [{}] (from config.json), found [{}]",
                                        weights_.folder().string(), name, fmt::join(p.compute.sizes(), ", "),
                                        fmt::join(view->shape, ", ")));
    }
    if (!is_floating(view->dtype)) {
      throw CheckpointError(fmt::format("{}: tensor {}: expected floating values, found {}", weights_.folder().string(),
                                        name, dtype_name(view->dtype)));
    }
    if (p.master.defined()) {
      read_values(*view, p.master);
      convert_into(p.master, p.compute);
    } else {
      read_values(*view, p.compute);
    }
    asked_for_.insert(name);
    target_.parameters.push_back(std::move(p));
  }

  void load(const std::string& name, const WeightTensors& whole) { load(name, whole, 0, whole.compute.size(0)); }

  void check_nothing_left(bool tied) const {
    for (const auto& [name, view] : weights_.tensors()) {
      // Old files carry the rotary frequencies, and tied models a second copy of the table; both follow from the rest.
      const bool derived = name.ends_with(".rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
      if (!derived && !asked_for_.contains(name)) {
        throw CheckpointError(fmt::format("{}: tensor {} is not part of the model that config.json describes",
                                          weights_.folder().string(), name));
      }
    }
  }

 private:
  ModelWeights weights_;
  ModelWeightTensors& target_;
  std::set<std::string, std::less<>> asked_for_;
};

LayerWeights load_layer(Loader& loader, int64_t index, const ModelConfig& c, const ModelOptions& o) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const int64_t d = c.hidden_size, f = c.intermediate_size, q = c.num_heads * c.head_dim,
                kv = c.num_kv_heads * c.head_dim;
  LayerWeights w;
  w.input_norm = allocate({d}, at::kFloat, o.use);
  w.qkv = allocate({q + 2 * kv, d}, o.compute_dtype, o.use);
  w.out = allocate({d, q}, o.compute_dtype, o.use);
  w.post_norm = allocate({d}, at::kFloat, o.use);
  w.gate_up = allocate({2 * f, d}, o.compute_dtype, o.use);
  w.down = allocate({d, f}, o.compute_dtype, o.use);
  loader.load(prefix + "input_layernorm.weight", w.input_norm);
  loader.load(prefix + "self_attn.q_proj.weight", w.qkv, 0, q);
  loader.load(prefix + "self_attn.k_proj.weight", w.qkv, q, kv);
  loader.load(prefix + "self_attn.v_proj.weight", w.qkv, q + kv, kv);
  loader.load(prefix + "self_attn.o_proj.weight", w.out);
  loader.load(prefix + "post_attention_layernorm.weight", w.post_norm);
  loader.load(prefix + "mlp.gate_proj.weight", w.gate_up, 0, f);
  loader.load(prefix + "mlp.up_proj.weight", w.gate_up, f, f);
  loader.load(prefix + "mlp.down_proj.weight", w.down);
  return w;
}

}  // namespace

ModelWeightTensors load_weights(const std::filesystem::path& folder, const ModelConfig& config,
                                const ModelOptions& options) {
  ModelWeightTensors w;
  Loader loader(folder, w);
  w.embedding = allocate({config.vocab_size, config.hidden_size}, options.compute_dtype, options.use);
  loader.load("model.embed_tokens.weight", w.embedding);
  for (int64_t i = 0; i < config.num_layers; ++i) w.layers.push_back(load_layer(loader, i, config, options));
  w.final_norm = allocate({config.hidden_size}, at::kFloat, options.use);
  loader.load("model.norm.weight", w.final_norm);
  if (config.tied_embeddings) {
    w.head = w.embedding;
  } else {
    w.head = allocate({config.vocab_size, config.hidden_size}, options.compute_dtype, options.use);
    loader.load("lm_head.weight", w.head);
  }
  loader.check_nothing_left(config.tied_embeddings);
  return w;
}

}  // namespace qtune
