#include "gguf_model_write.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <numbers>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "quote_name.h"

namespace qtune {
namespace {

constexpr int64_t kChunkValues = 1 << 16;
constexpr int64_t kQ8Block = 32;
constexpr std::string_view kWeight = ".weight";

/// A tensor that the architecture has.
struct ExpectedTensor {
  std::string gguf_name;
  std::vector<int64_t> shape;
  int64_t head_dim = 0;  // rows become rotary pairs of heads of this size; 0: they stay
};

/// By Hugging Face name.
using ExpectedTensors = std::map<std::string, ExpectedTensor>;

void expect_layer(ExpectedTensors& expected, const ModelConfig& c, int64_t layer) {
  const int64_t q_rows = c.num_heads * c.head_dim, kv_rows = c.num_kv_heads * c.head_dim;
  // llama.cpp turns neighbouring values of a head for llama, halves apart for the others.
  const int64_t pairs = gguf_architecture(c) == "llama" ? c.head_dim : 0;
  const auto add = [&](const char* hf_name, const char* gguf_name, std::vector<int64_t> shape, int64_t head_dim = 0) {
    expected[fmt::format("model.layers.{}.{}", layer, hf_name)] = {fmt::format("blk.{}.{}", layer, gguf_name),
                                                                   std::move(shape), head_dim};
  };
  add("input_layernorm.weight", "attn_norm.weight", {c.hidden_size});
  add("post_attention_layernorm.weight", "ffn_norm.weight", {c.hidden_size});
  add("self_attn.q_proj.weight", "attn_q.weight", {q_rows, c.hidden_size}, pairs);
  add("self_attn.k_proj.weight", "attn_k.weight", {kv_rows, c.hidden_size}, pairs);
  add("self_attn.v_proj.weight", "attn_v.weight", {kv_rows, c.hidden_size});
  add("self_attn.o_proj.weight", "attn_output.weight", {c.hidden_size, q_rows});
  add("mlp.gate_proj.weight", "ffn_gate.weight", {c.intermediate_size, c.hidden_size});
  add("mlp.up_proj.weight", "ffn_up.weight", {c.intermediate_size, c.hidden_size});
  add("mlp.down_proj.weight", "ffn_down.weight", {c.hidden_size, c.intermediate_size});
  if (c.qkv_bias) {
    add("self_attn.q_proj.bias", "attn_q.bias", {q_rows}, pairs);
    add("self_attn.k_proj.bias", "attn_k.bias", {kv_rows}, pairs);
    add("self_attn.v_proj.bias", "attn_v.bias", {kv_rows});
  }
  if (c.qk_norm) {
    add("self_attn.q_norm.weight", "attn_q_norm.weight", {c.head_dim});
    add("self_attn.k_norm.weight", "attn_k_norm.weight", {c.head_dim});
  }
}

ExpectedTensors expected_tensors(const ModelConfig& c) {
  ExpectedTensors expected;
  expected["model.embed_tokens.weight"] = {"token_embd.weight", {c.vocab_size, c.hidden_size}};
  expected["model.norm.weight"] = {"output_norm.weight", {c.hidden_size}};
  if (!c.tied_embeddings) expected["lm_head.weight"] = {"output.weight", {c.vocab_size, c.hidden_size}};
  for (int64_t i = 0; i < c.num_layers; ++i) expect_layer(expected, c, i);
  return expected;
}

/// Stored by some checkpoints, and made anew or tied by every reader.
bool is_left_out(std::string_view name, const ModelConfig& config) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attention.bias") ||
         name.ends_with(".attention.masked_bias") || (config.tied_embeddings && name == "lm_head.weight");
}

[[noreturn]] void fail(const ModelWeights& weights, const std::string& fault) {
  throw CheckpointError(
      fmt::format("{}: {} ---> weights and config.json belong to different models; copy or download "
                  "the folder again",
                  weights.folder().string(), fault));
}

void check_tensor(const ModelWeights& weights, const TensorView& tensor, const ExpectedTensor& expected) {
  if (tensor.shape != expected.shape) {
    fail(weights, fmt::format("tensor {}: expected shape {}, found {}", tensor.name, shape_text(expected.shape),
                              shape_text(tensor.shape)));
  }
  if (!is_floating(tensor.dtype)) {
    fail(weights, fmt::format("tensor {}: expected floating values, found {}", tensor.name, dtype_name(tensor.dtype)));
  }
}

/// The type in which a matrix is stored; norms and biases are always F32. Rows that are no whole blocks become F16.
GgmlType stored_type(const ExpectedTensor& expected, GgmlType type) {
  if (expected.shape.size() < 2) return GgmlType::kF32;
  return type == GgmlType::kQ8_0 && expected.shape.back() % kQ8Block != 0 ? GgmlType::kF16 : type;
}

void warn_of_other_types(const std::vector<GgufTensorToWrite>& tensors, GgmlType type, const ModelWeights& weights) {
  const auto other = [&](const GgufTensorToWrite& tensor) { return tensor.shape.size() > 1 && tensor.type != type; };
  const auto count = std::count_if(tensors.begin(), tensors.end(), other);
  if (count == 0) return;
  const auto first = std::find_if(tensors.begin(), tensors.end(), other);
  spdlog::warn("{}: {} tensors become F16 instead of Q8_0, since their rows are no multiple of {} values ({}: {})",
               weights.folder().string(), count, kQ8Block, first->name, first->shape.back());
}

bool same_bits(Dtype dtype, GgmlType type) {
  return (dtype == Dtype::kF32 && type == GgmlType::kF32) || (dtype == Dtype::kF16 && type == GgmlType::kF16) ||
         (dtype == Dtype::kBF16 && type == GgmlType::kBF16);
}

/// Hands on whole rows in another type.
class RowConverter {
 public:
  RowConverter(const std::string& name, Dtype from, GgmlType to, Float16Range& range, const ByteSink& sink)
      : name_(name), from_(from), to_(to), range_(range), sink_(sink) {}

  void operator()(std::span<const std::byte> rows) {
    if (same_bits(from_, to_)) return sink_(rows);
    values_.resize(rows.size() / dtype_size(from_));
    to_floats(rows, from_, values_);
    if (to_ == GgmlType::kF16) range_.see(name_, values_);
    bytes_.resize(ggml_row_bytes(to_, static_cast<int64_t>(values_.size())));
    quantize_values(values_, to_, bytes_);
    sink_(bytes_);
  }

 private:
  std::string name_;
  Dtype from_;
  GgmlType to_;
  Float16Range& range_;
  const ByteSink& sink_;
  std::vector<float> values_;
  std::vector<std::byte> bytes_;
};

/// Hands on the rows of each head as rotary pairs: rows 0, h/2, 1, h/2 + 1, ..
class PairRows {
 public:
  PairRows(size_t row_bytes, size_t head_dim, const ByteSink& sink)
      : row_bytes_(row_bytes), head_dim_(head_dim), sink_(sink), head_(row_bytes * head_dim), pairs_(head_.size()) {}

  void operator()(std::span<const std::byte> rows) {
    while (!rows.empty()) {
      const size_t taken = std::min(rows.size(), head_.size() - filled_);
      std::memcpy(head_.data() + filled_, rows.data(), taken);
      rows = rows.subspan(taken);
      filled_ += taken;
      if (filled_ == head_.size()) flush();
    }
  }

 private:
  void flush() {
    for (size_t row = 0; row < head_dim_; ++row) {
      const size_t source = row / 2 + (row % 2) * (head_dim_ / 2);
      std::memcpy(pairs_.data() + row * row_bytes_, head_.data() + source * row_bytes_, row_bytes_);
    }
    sink_(pairs_);
    filled_ = 0;
  }

  size_t row_bytes_, head_dim_;
  const ByteSink& sink_;
  std::vector<std::byte> head_, pairs_;
  size_t filled_ = 0;
};

/// The stored values, some rows at a time.
std::function<void(const ByteSink&)> stored_rows(const TensorView& tensor) {
  return [&tensor](const ByteSink& sink) {
    const int64_t columns = tensor.shape.back();
    const size_t row_bytes = static_cast<size_t>(columns) * dtype_size(tensor.dtype);
    const size_t chunk = row_bytes * static_cast<size_t>(std::max<int64_t>(kChunkValues / columns, 1));
    for (size_t begin = 0; begin < tensor.bytes.size(); begin += chunk) {
      sink(tensor.bytes.subspan(begin, std::min(chunk, tensor.bytes.size() - begin)));
    }
    release_pages(tensor.bytes);
  };
}

GgufTensorToWrite make_tensor(const TensorView& tensor, const ExpectedTensor& expected, GgmlType type,
                              const LoraAdapter* adapter, Float16Range& range) {
  const std::string module(std::string_view(tensor.name).substr(0, tensor.name.size() - kWeight.size()));
  Dtype dtype = tensor.dtype;
  std::function<void(const ByteSink&)> rows;
  if (adapter != nullptr && tensor.name.ends_with(kWeight) && adapter->modules().contains(module)) {
    dtype = Dtype::kF32;
    rows = std::get<std::function<void(const ByteSink&)>>(merged_weight(tensor, *adapter, module, dtype).values);
  } else {
    rows = stored_rows(tensor);
  }
  GgufTensorToWrite out{.name = expected.gguf_name, .type = type, .shape = expected.shape, .values = {}};
  const bool is_matrix = expected.shape.size() > 1;
  const uint64_t row_bytes = ggml_row_bytes(type, is_matrix ? expected.shape.back() : 1);
  const auto head_dim = static_cast<size_t>(expected.head_dim);
  out.values = [=, &range, name = tensor.name, rows = std::move(rows)](const ByteSink& sink) {
    if (head_dim == 0) return rows(RowConverter(name, dtype, type, range, sink));
    const ByteSink paired = PairRows(row_bytes, head_dim, sink);
    rows(RowConverter(name, dtype, type, range, paired));
  };
  return out;
}

/// Llama 3's scaling: what each frequency is divided by.
std::vector<float> rope_factors(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const auto original = static_cast<double>(scaling.original_positions);
  std::vector<float> factors;
  for (int64_t i = 0; i < config.head_dim; i += 2) {
    // in float32, as the models' own code has them
    const float power = static_cast<float>(i) / static_cast<float>(config.head_dim);
    const float frequency = 1.0f / std::pow(static_cast<float>(config.rope_theta), power);
    const auto wave = static_cast<float>(2 * std::numbers::pi) / frequency;
    if (wave < original / scaling.high_freq_factor) {
      factors.push_back(1);
    } else if (wave > original / scaling.low_freq_factor) {
      factors.push_back(static_cast<float>(scaling.factor));
    } else {
      const auto low = static_cast<float>(scaling.low_freq_factor), high = static_cast<float>(scaling.high_freq_factor);
      const float smooth = (static_cast<float>(original) / wave - low) / (high - low);
      factors.push_back(1 / ((1 - smooth) / static_cast<float>(scaling.factor) + smooth));
    }
  }
  return factors;
}

GgufTensorToWrite rope_tensor(const ModelConfig& config) {
  return {
      .name = "rope_freqs.weight",
      .type = GgmlType::kF32,
      .shape = {config.head_dim / 2},
      .values = [factors = rope_factors(config)](const ByteSink& sink) { sink(std::as_bytes(std::span(factors))); }};
}

}  // namespace

std::string gguf_architecture(const ModelConfig& config) {
  return config.model_type == "mistral" ? "llama" : config.model_type;
}

std::vector<GgufTensorToWrite> gguf_tensors(const ModelWeights& weights, const ModelConfig& config, GgmlType type,
                                            const LoraAdapter* adapter, Float16Range& range) {
  if (static_cast<uint64_t>(config.num_layers) > weights.tensors().size()) {
    fail(weights, fmt::format("{} layers, but only {} tensors", config.num_layers, weights.tensors().size()));
  }
  ExpectedTensors expected = expected_tensors(config);
  std::vector<GgufTensorToWrite> tensors;
  if (config.rope_scaling.type == RopeScalingType::kLlama3) tensors.push_back(rope_tensor(config));
  if (config.tied_embeddings) check_tied_head(weights);
  for (const auto& [name, tensor] : weights.tensors()) {
    const auto found = expected.find(name);
    if (found == expected.end()) {
      if (is_left_out(name, config)) continue;
      fail(weights, fmt::format("tensor {} belongs to no plain {} model", quote_name(name), config.model_type));
    }
    check_tensor(weights, *tensor, found->second);
    tensors.push_back(make_tensor(*tensor, found->second, stored_type(found->second, type), adapter, range));
    expected.erase(found);
  }
  if (!expected.empty()) fail(weights, fmt::format("tensor {} is missing", expected.begin()->first));
  warn_of_other_types(tensors, type, weights);
  return tensors;
}

void add_model_keys(GgufMetadata& metadata, const ModelConfig& config) {
  const std::string arch = gguf_architecture(config);
  const auto key = [&](const char* name) { return fmt::format("{}.{}", arch, name); };
  metadata.add_uint32(key("block_count"), config.num_layers);
  metadata.add_uint32(key("context_length"), config.max_positions);
  metadata.add_uint32(key("embedding_length"), config.hidden_size);
  metadata.add_uint32(key("feed_forward_length"), config.intermediate_size);
  metadata.add_uint32(key("attention.head_count"), config.num_heads);
  metadata.add_uint32(key("attention.head_count_kv"), config.num_kv_heads);
  if (config.rope_scaling.type == RopeScalingType::kLinear) {
    metadata.add_text(key("rope.scaling.type"), "linear");
    metadata.add_float32(key("rope.scaling.factor"), config.rope_scaling.factor);
  }
  metadata.add_float32(key("rope.freq_base"), config.rope_theta);
  metadata.add_float32(key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps);
  // Without the two, llama.cpp takes hidden size / heads.
  if (config.own_head_dim || config.head_dim * config.num_heads != config.hidden_size) {
    metadata.add_uint32(key("attention.key_length"), config.head_dim);
    metadata.add_uint32(key("attention.value_length"), config.head_dim);
  }
  if (arch == "llama") {
    metadata.add_uint32(key("vocab_size"), config.vocab_size);
    metadata.add_uint32(key("rope.dimension_count"), config.head_dim);
  }
}

}  // namespace qtune
