#include "qtune/model/model.h"

#include <fmt/format.h>

#include "model_state.h"
#include "qtune/base/error.h"
#include "qtune/model/reference.h"

namespace qtune {

SavedLayer Model::State::saved_buffers(const std::string& prefix, int64_t n) {
  const int64_t d = config.hidden_size;
  SavedLayer s;
  s.x_in_ND = float_buffer(prefix + "x_in", {n, d});
  s.x_mid_ND = float_buffer(prefix + "x_mid", {n, d});
  s.rstd_in_N = float_buffer(prefix + "rstd_in", {n});
  s.rstd_mid_N = float_buffer(prefix + "rstd_mid", {n});
  s.qkv_NX = buffer(prefix + "qkv", {n, config.qkv_width()});
  if (config.qk_norm) {
    const int64_t normed_heads = config.num_heads + config.num_kv_heads;
    s.raw_qk_NY = buffer(prefix + "raw_qk", {n, normed_heads * config.head_dim});
    s.rstd_qk_NZ = float_buffer(prefix + "rstd_qk", {n, normed_heads});
  }
  s.attention_NW = buffer(prefix + "attention", {n, attention_shape.out_width()});
  s.logsumexp_HN = float_buffer(prefix + "logsumexp", {config.num_heads, n});
  s.gate_up_N2F = buffer(prefix + "gate_up", {n, 2 * config.intermediate_size});
  return s;
}

void Model::State::project_qkv(const LayerWeights& w, const at::Tensor& normed_ND, const at::Tensor& positions_N,
                               const SavedLayer& saved) {
  project(w.qkv, normed_ND, saved.qkv_NX);
  if (config.qkv_bias) add_bias(w.qkv_bias.compute, saved.qkv_NX);
  if (config.qk_norm) {
    head_rms_norm(saved.qkv_NX, {.query_E = w.query_norm.compute, .key_E = w.key_norm.compute}, config.num_heads,
                  config.num_kv_heads, config.rms_norm_eps, saved.raw_qk_NY, saved.rstd_qk_NZ);
  }
  apply_rope(saved.qkv_NX, positions_N, rope_table, config.num_heads, config.num_kv_heads, RopeDirection::kForward);
}

void Model::State::project_qkv_backward(const LayerWeights& w, const at::Tensor& positions_N, const SavedLayer& saved,
                                        const at::Tensor& dqkv_NX) {
  apply_rope(dqkv_NX, positions_N, rope_table, config.num_heads, config.num_kv_heads, RopeDirection::kBackward);
  if (config.qk_norm) {
    head_rms_norm_backward(dqkv_NX, saved.raw_qk_NY, saved.rstd_qk_NZ,
                           {.query_E = w.query_norm.compute, .key_E = w.key_norm.compute}, config.num_heads,
                           config.num_kv_heads, {.query_E = w.query_norm.gradient, .key_E = w.key_norm.gradient});
  }
  if (w.qkv_bias.gradient.defined()) bias_gradient(dqkv_NX, w.qkv_bias.gradient);
}

/// x_ND: the residual stream before this layer's predecessor's output `delta` is added (undefined: it is in already, or
/// there is none, and x_ND is saved.x_in). Afterwards saved.x_in holds the layer's input.
void Model::State::forward_saved(const LayerWeights& w, const PackedTokens& batch, const at::Tensor& x_ND,
                                 const at::Tensor& delta_ND, const SavedLayer& saved) {
  const int64_t n = batch.num_tokens(), d = config.hidden_size;
  const at::Tensor normed = buffer("normed", {n, d}), projected = buffer("projected", {n, d});
  add_rms_norm(x_ND, delta_ND, saved.x_in_ND, w.input_norm.compute, config.rms_norm_eps, normed, saved.rstd_in_N);
  project_qkv(w, normed, batch.positions_N, saved);
  attention(saved.qkv_NX, {batch.cu_seqlens, batch.device_cu_seqlens}, attention_shape, saved.attention_NW,
            saved.logsumexp_HN);
  project(w.out, saved.attention_NW, projected);
  add_rms_norm(saved.x_in_ND, projected, saved.x_mid_ND, w.post_norm.compute, config.rms_norm_eps, normed,
               saved.rstd_mid_N);
  project(w.gate_up, normed, saved.gate_up_N2F);
}

/// out_ND: what this layer adds to saved.x_mid.
void Model::State::forward_layer(const LayerWeights& w, const PackedTokens& batch, const at::Tensor& x_ND,
                                 const at::Tensor& delta_ND, const SavedLayer& saved, const at::Tensor& out_ND) {
  forward_saved(w, batch, x_ND, delta_ND, saved);
  const at::Tensor h = buffer("h", {batch.num_tokens(), config.intermediate_size});
  swiglu(saved.gate_up_N2F, h);
  project(w.down, h, out_ND);
}

/// dx_ND: gradient of the residual stream behind the layer on entry, before it on return.
void Model::State::backward_layer(const LayerWeights& w, const PackedTokens& batch, const SavedLayer& saved,
                                  const at::Tensor& dx_ND, InputGradient input_gradient) {
  const int64_t n = batch.num_tokens(), d = config.hidden_size, f = config.intermediate_size;
  const at::Tensor dy = buffer("dy", {n, d}), normed = buffer("normed", {n, d}), dnormed = buffer("dnormed", {n, d});

  const at::Tensor h = buffer("h", {n, f}), dh = buffer("dh", {n, f});
  convert_into(dx_ND, dy);
  at::Tensor du = project_inner_gradient(w.down, dy);
  project_input_gradient(w.down, dy, du, dh);
  const at::Tensor& dgate_up = saved.gate_up_N2F;  // in place: nobody reads gate_up again
  swiglu_backward(dh, saved.gate_up_N2F, dgate_up, h);
  project_weight_gradient(w.down, dy, h, du);
  rms_norm_again(saved.x_mid_ND, saved.rstd_mid_N, w.post_norm.compute, normed);
  du = project_inner_gradient(w.gate_up, dgate_up);
  project_input_gradient(w.gate_up, dgate_up, du, dnormed);
  project_weight_gradient(w.gate_up, dgate_up, normed, du);
  rms_norm_backward(dnormed, saved.x_mid_ND, saved.rstd_mid_N, w.post_norm.compute, dx_ND, w.post_norm.gradient);

  const at::Tensor dattention = buffer("dattention", {n, attention_shape.out_width()});
  const at::Tensor dqkv = buffer("dqkv", {n, config.qkv_width()});
  convert_into(dx_ND, dy);
  du = project_inner_gradient(w.out, dy);
  project_input_gradient(w.out, dy, du, dattention);
  project_weight_gradient(w.out, dy, saved.attention_NW, du);
  attention_backward(dattention, saved.qkv_NX, saved.attention_NW, saved.logsumexp_HN,
                     {batch.cu_seqlens, batch.device_cu_seqlens}, attention_shape, dqkv);
  project_qkv_backward(w, batch.positions_N, saved, dqkv);
  rms_norm_again(saved.x_in_ND, saved.rstd_in_N, w.input_norm.compute, normed);
  du = project_inner_gradient(w.qkv, dqkv);
  project_weight_gradient(w.qkv, dqkv, normed, du);
  if (input_gradient == InputGradient::kSkipped) return;
  project_input_gradient(w.qkv, dqkv, du, dnormed);
  rms_norm_backward(dnormed, saved.x_in_ND, saved.rstd_in_N, w.input_norm.compute, dx_ND, w.input_norm.gradient);
}

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;

namespace {

/// Flash attention has heads of such sizes only.
void check_device_holds(const ModelConfig& config, const ModelOptions& options, const std::filesystem::path& folder) {
  if (!options.device.is_cuda() || (config.head_dim % 8 == 0 && config.head_dim <= 256)) return;
  throw CheckpointError(fmt::format(
      "{}: on a GPU heads of a multiple of 8 up to 256 dimensions are computed, found {} ---> use_cpu: true",
      folder.string(), config.head_dim));
}

}  // namespace

Model Model::load(const std::filesystem::path& folder, const ModelOptions& options) {
  auto state = std::make_unique<State>();
  state->workspace = Workspace(options.device);
  state->config = read_model_config(folder);
  state->options = options;
  check_device_holds(state->config, options, folder);
  state->weights = load_weights(folder, state->config, options);
  const ModelConfig& c = state->config;
  state->attention_shape = {
      .num_heads = c.num_heads, .num_kv_heads = c.num_kv_heads, .head_dim = c.head_dim, .window = c.sliding_window};
  return Model(std::move(state));
}

const ModelConfig& Model::config() const { return state_->config; }
const ModelOptions& Model::options() const { return state_->options; }
const std::optional<LoraConfig>& Model::lora() const { return state_->weights.lora; }
const std::vector<Parameter>& Model::base_parameters() const { return state_->weights.parameters; }
std::vector<Parameter>& Model::parameters() {
  return lora() ? state_->weights.lora_parameters : state_->weights.parameters;
}

void assign(Parameter& p, const at::Tensor& values) {
  if (p.master_begin) {
    if (p.master.defined()) p.master.copy_(values.view({-1}).narrow(0, *p.master_begin, p.master.numel()));
  } else if (p.master.defined()) {
    p.master.copy_(values);
  }
  convert_into(values.to(p.compute.device()), p.compute);
}

void Model::zero_gradients() {
  for (Parameter& p : parameters()) p.gradient.zero_();
}

void Model::start_step(int64_t step, int64_t first_pass) {
  state_->step = static_cast<uint64_t>(step);
  state_->num_passes = static_cast<uint64_t>(first_pass);
}

std::optional<DropoutStream> Model::dropout_of(uint64_t module) const { return state_->dropout_of(module); }

void Model::refresh_compute_weights() {
  for (Parameter& p : parameters()) {
    if (!p.master.defined()) continue;
    const at::Tensor target =
        p.master_begin ? p.compute.view({-1}).narrow(0, *p.master_begin, p.master.numel()) : p.compute;
    convert_into(p.master, target);
  }
}

void Model::prepare_fp8_scores() {
  State& s = *state_;
  if (s.options.compute_dtype != at::kBFloat16 || s.options.ops == OpsChoice::kReference) {
    throw Error("scores on fp8: expected compute in bfloat16 by the fused ops");
  }
  for (LayerWeights& layer : s.weights.layers) {
    for (LinearWeights* w : {&layer.qkv, &layer.out, &layer.gate_up, &layer.down}) make_fp8_weight(w->compute, w->fp8);
  }
  s.has_fp8_weights = true;
}

RowScores Model::score(const PackedTokens& host_batch, ScoreType type) {
  State& s = *state_;
  if (type == ScoreType::kFp8 && !s.has_fp8_weights) throw Error("scores on fp8: prepare_fp8_scores() comes first");
  struct Pass {
    Pass(State& state, bool on_fp8) : s(state) { s.on_fp8 = on_fp8; }
    ~Pass() { s.on_fp8 = false; }
    State& s;
  } const pass(s, type == ScoreType::kFp8);
  const PackedTokens batch = to_device(host_batch, s.options.device, s.config.vocab_size);
  if (s.options.ops == OpsChoice::kReference) return score_reference(*this, batch);
  const int64_t n = batch.num_tokens(), m = batch.num_targets(), d = s.config.hidden_size;
  if (n == 0) return linear_cross_entropy(s.buffer("hidden", {0, d}), s.weights.head.compute, batch.targets_M);
  s.grow_rope_table(batch);
  // One set of buffers for all layers: x_in and x_mid are the same stream, updated in place.
  SavedLayer saved = s.saved_buffers("0.", n);  // a training pass's first layer's: the two never overlap
  saved.x_mid_ND = saved.x_in_ND;
  const at::Tensor out = s.buffer("layer_out", {n, d});
  embed(s.weights.embedding.compute, batch.ids_N, saved.x_in_ND);
  at::Tensor delta;
  for (const LayerWeights& layer : s.weights.layers) {
    s.forward_layer(layer, batch, saved.x_in_ND, delta, saved, out);
    delta = out;
  }
  accumulate(out, saved.x_in_ND);
  const at::Tensor x_MD = s.float_buffer("x_rows", {m, d}), hidden_MD = s.buffer("hidden", {m, d});
  gather_rows(saved.x_in_ND, batch.rows_M, x_MD);
  add_rms_norm(x_MD, {}, x_MD, s.weights.final_norm.compute, s.config.rms_norm_eps, hidden_MD,
               s.float_buffer("rstd_rows", {m}));
  return linear_cross_entropy(hidden_MD, s.weights.head.compute, batch.targets_M);
}

at::Tensor Model::attention_to_targets(const PackedTokens& host_batch, int64_t layer, AttentionRule rule) {
  State& s = *state_;
  if (layer < 1 || layer > s.config.num_layers)
    throw Error(
        fmt::format("attention_to_targets: expected a layer from 1 to {}, found {}", s.config.num_layers, layer));
  const PackedTokens batch = to_device(host_batch, s.options.device, s.config.vocab_size);
  const int64_t n = batch.num_tokens(), d = s.config.hidden_size;
  if (n == 0) return s.float_buffer("no_attention", {0});
  s.grow_rope_table(batch);
  SavedLayer saved = s.saved_buffers("0.", n);
  saved.x_mid_ND = saved.x_in_ND;
  const at::Tensor out = s.buffer("layer_out", {n, d}), normed = s.buffer("normed", {n, d});
  embed(s.weights.embedding.compute, batch.ids_N, saved.x_in_ND);
  at::Tensor delta;
  const size_t last = static_cast<size_t>(layer) - 1;
  for (size_t i = 0; i < last; ++i) {
    s.forward_layer(s.weights.layers[i], batch, saved.x_in_ND, delta, saved, out);
    delta = out;
  }
  const LayerWeights& w = s.weights.layers[last];
  add_rms_norm(saved.x_in_ND, delta, saved.x_in_ND, w.input_norm.compute, s.config.rms_norm_eps, normed,
               saved.rstd_in_N);
  s.project_qkv(w, normed, batch.positions_N, saved);
  return attention_received(saved.qkv_NX, host_batch, s.attention_shape, rule);
}

RowScores Model::State::forward_backward(const PackedTokens& batch, const std::function<void(int64_t)>& layer_done) {
  const int64_t n = batch.num_tokens(), m = batch.num_targets(), d = config.hidden_size;
  if (m == 0) {
    for (int64_t layer = config.num_layers; layer_done && layer-- > 0;) layer_done(layer);
    return linear_cross_entropy(buffer("hidden", {0, d}), weights.head.compute, batch.targets_M);
  }

  grow_rope_table(batch);
  std::vector<SavedLayer> saved;
  const at::Tensor out = buffer("layer_out", {n, d});
  at::Tensor delta;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const std::string own = fmt::format("{}.", i);
    saved.push_back(saved_buffers(options.gradient_checkpointing ? "0." : own, n));
    if (options.gradient_checkpointing) saved[i].x_in_ND = float_buffer(own + "x_in", {n, d});
    if (i == 0) embed(weights.embedding.compute, batch.ids_N, saved[0].x_in_ND);
    forward_layer(weights.layers[i], batch, i == 0 ? saved[0].x_in_ND : saved[i - 1].x_mid_ND, delta, saved[i], out);
    delta = out;
  }
  const at::Tensor x_ND = float_buffer("x_last", {n, d});
  x_ND.copy_(saved.back().x_mid_ND);
  accumulate(out, x_ND);
  const at::Tensor x_MD = float_buffer("x_rows", {m, d}), rstd_M = float_buffer("rstd_rows", {m});
  const at::Tensor hidden_MD = buffer("hidden", {m, d}), dhidden_MD = buffer("dhidden", {m, d});
  gather_rows(x_ND, batch.rows_M, x_MD);
  add_rms_norm(x_MD, {}, x_MD, weights.final_norm.compute, config.rms_norm_eps, hidden_MD, rstd_M);
  RowScores scores = linear_cross_entropy_backward(hidden_MD, weights.head.compute, batch.targets_M, dhidden_MD,
                                                   weights.head.gradient, batch.weights_M);

  const at::Tensor dx_MD = float_buffer("dx_rows", {m, d}), dx_ND = float_buffer("dx", {n, d});
  dx_MD.zero_();
  rms_norm_backward(dhidden_MD, x_MD, rstd_M, weights.final_norm.compute, dx_MD, weights.final_norm.gradient);
  dx_ND.zero_();
  scatter_add_rows(dx_MD, batch.rows_M, dx_ND);
  const bool trains_embedding = weights.embedding.gradient.defined();
  for (size_t i = weights.layers.size(); i-- > 0;) {
    // The last layer's values still lie in the shared buffers.
    if (options.gradient_checkpointing && i + 1 < weights.layers.size()) {
      forward_saved(weights.layers[i], batch, saved[i].x_in_ND, {}, saved[i]);
    }
    backward_layer(weights.layers[i], batch, saved[i], dx_ND,
                   i == 0 && !trains_embedding ? InputGradient::kSkipped : InputGradient::kComputed);
    if (layer_done) layer_done(static_cast<int64_t>(i));
  }
  if (trains_embedding) embed_backward(dx_ND, batch.ids_N, weights.embedding.gradient);
  return scores;
}

RowScores Model::forward_backward(const PackedTokens& host_batch, const std::function<void(int64_t)>& layer_done) {
  State& s = *state_;
  if (s.options.use != ModelUse::kTraining) throw Error("forward_backward: the model was loaded for inference");
  struct Pass {
    explicit Pass(State& state) : s(state) { s.drops = s.dropout_of(0).has_value(); }
    ~Pass() {
      s.drops = false;
      ++s.num_passes;
    }
    State& s;
  } const pass(s);
  const PackedTokens batch = to_device(host_batch, s.options.device, s.config.vocab_size);
  if (s.options.ops != OpsChoice::kReference) return s.forward_backward(batch, layer_done);
  const RowScores scores = forward_backward_reference(*this, batch);
  for (int64_t layer = s.config.num_layers; layer_done && layer-- > 0;) layer_done(layer);
  return scores;
}

namespace {

std::vector<TensorToWrite> tensors_to_write(const std::vector<Parameter>& parameters, Dtype dtype) {
  std::vector<TensorToWrite> tensors;
  for (const Parameter& p : parameters) {
    const at::Tensor source = p.best_values();
    TensorToWrite t{.name = p.name, .dtype = dtype, .shape = source.sizes().vec(), .values = {}};
    t.values = [source, dtype](const ByteSink& sink) {
      constexpr int64_t kPiece = 1 << 20;
      std::vector<std::byte> bytes(static_cast<size_t>(kPiece) * dtype_size(dtype));
      const at::Tensor flat = source.view({-1});
      for (int64_t i = 0; i < flat.numel(); i += kPiece) {
        const at::Tensor piece = flat.narrow(0, i, std::min(kPiece, flat.numel() - i)).to(at::kCPU).to(at::kFloat);
        const size_t count = static_cast<size_t>(piece.numel());
        const std::span<std::byte> out(bytes.data(), count * dtype_size(dtype));
        from_floats({piece.data_ptr<float>(), count}, dtype, out);
        sink(out);
      }
    };
    tensors.push_back(std::move(t));
  }
  return tensors;
}

}  // namespace

std::vector<TensorToWrite> weights_to_write(Model& model, Dtype dtype) {
  return tensors_to_write(model.base_parameters(), dtype);
}

std::vector<TensorToWrite> lora_to_write(Model& model, Dtype dtype) {
  return tensors_to_write(model.lora() ? model.parameters() : std::vector<Parameter>{}, dtype);
}

}  // namespace qtune
