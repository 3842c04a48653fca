#include "weights.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "lora_weights.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/ops/elementwise.h"

namespace qtune {

WeightTensors allocate_weight(at::IntArrayRef shape, at::ScalarType dtype, const ModelOptions& options) {
  const auto of_type = [&](at::ScalarType type) { return at::TensorOptions(type).device(options.device); };
  WeightTensors w;
  w.compute = at::empty(shape, of_type(dtype));
  if (options.use == ModelUse::kTraining) {
    const bool sliced = options.master_shard.count > 1 && !options.adapter;
    if (dtype == at::kFloat) {
      w.master = w.compute;
    } else if (!sliced) {
      w.master = at::empty(shape, of_type(at::kFloat));
    }
    w.gradient = at::zeros(shape, of_type(at::kFloat));
  }
  return w;
}

void read_weight(const TensorView& view, const at::Tensor& target) {
  // Piece by piece, each released at once: the file and its copy never lie in memory together.
  constexpr int64_t kPiece = 1 << 22;
  const at::Tensor flat = target.view({-1});
  const auto size = static_cast<int64_t>(dtype_size(view.dtype));
  for (int64_t first = 0; first < flat.numel(); first += kPiece) {
    const int64_t count = std::min(kPiece, flat.numel() - first);
    const auto bytes = view.bytes.subspan(static_cast<size_t>(first * size), static_cast<size_t>(count * size));
    const at::Tensor place = flat.narrow(0, first, count);
    const at::Tensor piece = place.is_cpu() ? place : at::empty({count}, place.scalar_type());
    if (target.scalar_type() == at::kFloat) {
      to_floats(bytes, view.dtype, {piece.data_ptr<float>(), static_cast<size_t>(count)});
    } else if (view.dtype == Dtype::kBF16) {
      std::memcpy(piece.data_ptr(), bytes.data(), bytes.size());
    } else {
      const at::Tensor floats = at::empty({count}, at::kFloat);
      to_floats(bytes, view.dtype, {floats.data_ptr<float>(), static_cast<size_t>(count)});
      convert_into(floats, piece);
    }
    release_pages(bytes);
    if (!place.is_cpu()) place.copy_(piece);
  }
}

namespace {

/// Calls visit(name, shape) for every tensor of the model, in checkpoint order.
template <class Visit>
void for_each_tensor(const ModelConfig& c, const Visit& visit) {
  const int64_t d = c.hidden_size, f = c.intermediate_size, q = c.num_heads * c.head_dim,
                kv = c.num_kv_heads * c.head_dim;
  visit("model.embed_tokens.weight", {c.vocab_size, d});
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    visit(prefix + "input_layernorm.weight", {d});
    visit(prefix + "self_attn.q_proj.weight", {q, d});
    visit(prefix + "self_attn.k_proj.weight", {kv, d});
    visit(prefix + "self_attn.v_proj.weight", {kv, d});
    if (c.qkv_bias) {
      visit(prefix + "self_attn.q_proj.bias", {q});
      visit(prefix + "self_attn.k_proj.bias", {kv});
      visit(prefix + "self_attn.v_proj.bias", {kv});
    }
    if (c.qk_norm) {
      visit(prefix + "self_attn.q_norm.weight", {c.head_dim});
      visit(prefix + "self_attn.k_norm.weight", {c.head_dim});
    }
    visit(prefix + "self_attn.o_proj.weight", {d, q});
    visit(prefix + "post_attention_layernorm.weight", {d});
    visit(prefix + "mlp.gate_proj.weight", {f, d});
    visit(prefix + "mlp.up_proj.weight", {f, d});
    visit(prefix + "mlp.down_proj.weight", {d, f});
  }
  visit("model.norm.weight", {d});
  if (!c.tied_embeddings) visit("lm_head.weight", {c.vocab_size, d});
}

/// Holds the files against config.json before any memory is taken: a wrong config may promise terabytes.
void check_tensors(const ModelWeights& weights, const ModelConfig& config) {
  const std::string folder = weights.folder().string();
  std::set<std::string, std::less<>> expected;
  for_each_tensor(config, [&](const std::string& name, const std::vector<int64_t>& shape) {
    const TensorView* view = weights.find(name);
    if (view == nullptr) {
      throw CheckpointError(
          fmt::format("{}: tensor {} is missing ---> config.json promises it: the folder holds another "
                      "model's weights or not all shards",
                      folder, name));
    }
    if (view->shape != shape) {
      throw CheckpointError(fmt::format("{}: tensor {}: expected shape {} (from config.json), found {}", folder, name,
                                        shape_text(shape), shape_text(view->shape)));
    }
    if (!is_floating(view->dtype)) {
      throw CheckpointError(
          fmt::format("{}: tensor {}: expected floating values, found {}", folder, name, dtype_name(view->dtype)));
    }
    expected.insert(name);
  });
  if (config.tied_embeddings) check_tied_head(weights);
  for (const auto& [name, view] : weights.tensors()) {
    // Old files carry the rotary frequencies, and tied models a second copy of the table; both follow from the rest.
    const bool derived = name.ends_with(".rotary_emb.inv_freq") || (config.tied_embeddings && name == "lm_head.weight");
    if (!derived && !expected.contains(name)) {
      throw CheckpointError(
          fmt::format("{}: tensor {} is not part of the model that config.json describes", folder, name));
    }
  }
}

/// Fills weights from checked files and lists them as parameters.
class Loader {
 public:
  Loader(const ModelWeights& weights, const ModelConfig& config, const ModelOptions& options,
         ModelWeightTensors& target)
      : weights_(weights), target_(target) {
    if (options.use != ModelUse::kTraining || options.master_shard.count == 1) return;
    std::vector<int64_t> sizes;
    for_each_tensor(
        config, [&](const std::string&, const std::vector<int64_t>& shape) { sizes.push_back(*num_values(shape)); });
    own_slices_.resize(sizes.size());
    for (const ShardSlice& slice : shard_slices(sizes, options.master_shard.count)) {
      if (slice.rank == options.master_shard.rank) own_slices_[slice.tensor] = slice;
    }
  }

  /// Fills rows [first_row, first_row + rows) of `whole`.
  void load(const std::string& name, const WeightTensors& whole, int64_t first_row, int64_t rows) {
    Parameter p{.name = name, .compute = {}, .master = {}, .gradient = {}};
    const auto part = [&](const at::Tensor& t) { return t.defined() ? t.narrow(0, first_row, rows) : t; };
    p.compute = part(whole.compute);
    p.master = part(whole.master);
    p.gradient = part(whole.gradient);
    const TensorView& view = *weights_.find(name);
    if (!own_slices_.empty() && !p.master.defined()) {
      load_slice(view, own_slices_.at(target_.parameters.size()), p);
    } else {
      read_weight(view, p.master.defined() ? p.master : p.compute);
      if (p.master.defined()) convert_into(p.master, p.compute);
    }
    target_.parameters.push_back(std::move(p));
  }

  void load(const std::string& name, const WeightTensors& whole) { load(name, whole, 0, whole.compute.size(0)); }

 private:
  /// All values pass through float32 once: they are rounded to compute weights, and this rank's slice is kept.
  static void load_slice(const TensorView& view, const ShardSlice& slice, Parameter& p) {
    const at::Tensor values = at::empty(p.compute.sizes(), p.compute.options().dtype(at::kFloat));
    read_weight(view, values);
    p.master_begin = slice.begin;
    if (slice.size > 0) p.master = at::empty({slice.size}, values.options());
    assign(p, values);
  }

  const ModelWeights& weights_;
  ModelWeightTensors& target_;
  std::vector<ShardSlice> own_slices_;  // of each parameter; empty: masters are whole
};

LayerWeights load_layer(Loader& loader, int64_t index, const ModelConfig& c, const ModelOptions& o) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const int64_t d = c.hidden_size, f = c.intermediate_size, q = c.num_heads * c.head_dim,
                kv = c.num_kv_heads * c.head_dim;
  LayerWeights w;
  w.input_norm = allocate_weight({d}, at::kFloat, o);
  w.qkv = {allocate_weight({q + 2 * kv, d}, o.compute_dtype, o), {}};
  w.out = {allocate_weight({d, q}, o.compute_dtype, o), {}};
  w.post_norm = allocate_weight({d}, at::kFloat, o);
  w.gate_up = {allocate_weight({2 * f, d}, o.compute_dtype, o), {}};
  w.down = {allocate_weight({d, f}, o.compute_dtype, o), {}};
  loader.load(prefix + "input_layernorm.weight", w.input_norm);
  loader.load(prefix + "self_attn.q_proj.weight", w.qkv, 0, q);
  loader.load(prefix + "self_attn.k_proj.weight", w.qkv, q, kv);
  loader.load(prefix + "self_attn.v_proj.weight", w.qkv, q + kv, kv);
  if (c.qkv_bias) {
    w.qkv_bias = allocate_weight({q + 2 * kv}, at::kFloat, o);
    loader.load(prefix + "self_attn.q_proj.bias", w.qkv_bias, 0, q);
    loader.load(prefix + "self_attn.k_proj.bias", w.qkv_bias, q, kv);
    loader.load(prefix + "self_attn.v_proj.bias", w.qkv_bias, q + kv, kv);
  }
  if (c.qk_norm) {
    w.query_norm = allocate_weight({c.head_dim}, at::kFloat, o);
    w.key_norm = allocate_weight({c.head_dim}, at::kFloat, o);
    loader.load(prefix + "self_attn.q_norm.weight", w.query_norm);
    loader.load(prefix + "self_attn.k_norm.weight", w.key_norm);
  }
  loader.load(prefix + "self_attn.o_proj.weight", w.out);
  loader.load(prefix + "post_attention_layernorm.weight", w.post_norm);
  loader.load(prefix + "mlp.gate_proj.weight", w.gate_up, 0, f);
  loader.load(prefix + "mlp.up_proj.weight", w.gate_up, f, f);
  loader.load(prefix + "mlp.down_proj.weight", w.down);
  return w;
}

}  // namespace

void check_weight_files(const std::filesystem::path& folder, const ModelConfig& config) {
  check_tensors(ModelWeights(folder), config);
}

ModelWeightTensors load_weights(const std::filesystem::path& folder, const ModelConfig& config,
                                const ModelOptions& model_options) {
  ModelOptions options = model_options;
  if (options.adapter) options.use = ModelUse::kInference;  // frozen
  const ModelWeights files(folder);
  check_tensors(files, config);
  ModelWeightTensors w;
  Loader loader(files, config, options, w);
  w.embedding = allocate_weight({config.vocab_size, config.hidden_size}, options.compute_dtype, options);
  loader.load("model.embed_tokens.weight", w.embedding);
  for (int64_t i = 0; i < config.num_layers; ++i) w.layers.push_back(load_layer(loader, i, config, options));
  w.final_norm = allocate_weight({config.hidden_size}, at::kFloat, options);
  loader.load("model.norm.weight", w.final_norm);
  if (config.tied_embeddings) {
    w.head = w.embedding;
  } else {
    w.head = allocate_weight({config.vocab_size, config.hidden_size}, options.compute_dtype, options);
    loader.load("lm_head.weight", w.head);
  }
  if (model_options.adapter) add_lora(w, folder, config, model_options);
  return w;
}

}  // namespace qtune
