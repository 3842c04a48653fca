#include "gguf_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "qtune/base/error.h"
#include "quote_name.h"

namespace qtune {
namespace {

constexpr int64_t kChunkValues = 1 << 16;

[[noreturn]] void fail(const GgufFile& file, const std::string& fault, std::string_view what_to_do) {
  throw CheckpointError(fmt::format("{}: {} ---> {}", file.path().string(), fault, what_to_do));
}

[[noreturn]] void fail_damaged(const GgufFile& file, const std::string& fault) {
  fail(file, fault, "the file is damaged or not a model; copy or download it again");
}

int64_t required_size(const GgufFile& file, const char* key) {
  const std::optional<int64_t> value = file.integer(key);
  if (!value) fail_damaged(file, fmt::format("metadata {}: expected a value, found none", key));
  if (*value < 1 || *value > std::numeric_limits<int32_t>::max()) {
    fail_damaged(file, fmt::format("metadata {}: expected 1 or more, found {}", key, *value));
  }
  return *value;
}

int64_t optional_size(const GgufFile& file, const char* key, int64_t otherwise) {
  return file.has(key) ? required_size(file, key) : otherwise;
}

/// 6 significant digits: the file holds a float32, and config.json shall say 1e-05, not 9.99999974e-06.
double six_digits(double value) {
  const std::string text = fmt::format("{:.6g}", value);
  double result = value;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

const GgufTensor* find_tensor(const GgufFile& file, std::string_view name) {
  const auto found = std::find_if(file.tensors().begin(), file.tensors().end(),
                                  [&](const GgufTensor& tensor) { return tensor.name == name; });
  return found == file.tensors().end() ? nullptr : &*found;
}

/// A tensor that the architecture has.
struct ExpectedTensor {
  std::string gguf_name, hf_name;
  std::vector<int64_t> shape;
  int64_t heads = 0;  // rows lie as rotary pairs of so many heads; 0: they don't
};

std::vector<ExpectedTensor> expected_tensors(const GgufModelFacts& facts) {
  const int64_t hidden = facts.hidden, intermediate = facts.intermediate;
  const int64_t q_rows = facts.heads * facts.head_dim, kv_rows = facts.kv_heads * facts.head_dim;
  std::vector<ExpectedTensor> expected = {
      {"token_embd.weight", "model.embed_tokens.weight", {facts.vocabulary, hidden}},
      {"output_norm.weight", "model.norm.weight", {hidden}},
  };
  if (!facts.tied) expected.push_back({"output.weight", "lm_head.weight", {facts.vocabulary, hidden}});
  const std::array<ExpectedTensor, 9> layer = {{
      {"attn_norm", "input_layernorm", {hidden}},
      {"ffn_norm", "post_attention_layernorm", {hidden}},
      {"attn_q", "self_attn.q_proj", {q_rows, hidden}, facts.heads},
      {"attn_k", "self_attn.k_proj", {kv_rows, hidden}, facts.kv_heads},
      {"attn_v", "self_attn.v_proj", {kv_rows, hidden}},
      {"attn_output", "self_attn.o_proj", {hidden, q_rows}},
      {"ffn_gate", "mlp.gate_proj", {intermediate, hidden}},
      {"ffn_up", "mlp.up_proj", {intermediate, hidden}},
      {"ffn_down", "mlp.down_proj", {hidden, intermediate}},
  }};
  for (int64_t i = 0; i < facts.layers; ++i) {
    for (const ExpectedTensor& tensor : layer) {
      expected.push_back({fmt::format("blk.{}.{}.weight", i, tensor.gguf_name),
                          fmt::format("model.layers.{}.{}.weight", i, tensor.hf_name), tensor.shape, tensor.heads});
    }
  }
  return expected;
}

/// Row of the stored tensor that becomes row `row`: pairs (0, h/2), (1, h/2 + 1), .. of a head go back to two halves.
int64_t source_row(int64_t row, int64_t head_dim) {
  const int64_t within = row % head_dim, half = head_dim / 2;
  return row - within + 2 * (within % half) + within / half;
}

void write_rows(const GgufTensor& tensor, Dtype dtype, int64_t head_dim, Float16Range& range, const ByteSink& sink) {
  const int64_t columns = tensor.num_columns(), num_rows = tensor.num_rows();
  const int64_t chunk_rows = std::clamp<int64_t>(kChunkValues / columns, 1, num_rows);
  std::vector<float> values(static_cast<size_t>(chunk_rows * columns));
  std::vector<std::byte> bytes(values.size() * dtype_size(dtype));
  for (int64_t row = 0; row < num_rows; row += chunk_rows) {
    const int64_t count = std::min(chunk_rows, num_rows - row);
    const auto size = static_cast<size_t>(count * columns);
    if (head_dim == 0) {
      dequantize_rows(tensor, row, count, std::span(values).first(size));
    } else {
      for (int64_t i = 0; i < count; ++i) {
        dequantize_rows(tensor, source_row(row + i, head_dim), 1,
                        std::span(values).subspan(static_cast<size_t>(i * columns), static_cast<size_t>(columns)));
      }
    }
    if (dtype == Dtype::kF16) range.see(tensor.name, std::span(values).first(size));
    const std::span<std::byte> out = std::span(bytes).first(size * dtype_size(dtype));
    from_floats(std::span(values).first(size), dtype, out);
    sink(out);
  }
}

}  // namespace

GgufModelFacts read_gguf_facts(const GgufFile& file) {
  const std::string_view architecture = file.text("general.architecture").value_or("");
  if (architecture != "llama") {
    fail(file, fmt::format("expected general.architecture \"llama\", found {}", quote_name(architecture)),
         "only models of the llama architecture are converted");
  }
  if (const std::string_view scaling = file.text("llama.rope.scaling.type").value_or("none"); scaling != "none") {
    fail(file, fmt::format("llama.rope.scaling.type {} is not supported", quote_name(scaling)),
         "start from the model's Hugging Face folder");
  }
  GgufModelFacts facts;
  facts.hidden = required_size(file, "llama.embedding_length");
  facts.heads = required_size(file, "llama.attention.head_count");
  facts.kv_heads = optional_size(file, "llama.attention.head_count_kv", facts.heads);
  facts.head_dim = optional_size(file, "llama.attention.key_length", facts.hidden / facts.heads);
  facts.intermediate = required_size(file, "llama.feed_forward_length");
  facts.layers = required_size(file, "llama.block_count");
  facts.context = required_size(file, "llama.context_length");
  facts.rope_theta = file.number("llama.rope.freq_base").value_or(10000.0);
  facts.rms_norm_eps = six_digits(file.number("llama.attention.layer_norm_rms_epsilon").value_or(-1));
  if (!(facts.rms_norm_eps >= 0 && facts.rms_norm_eps < 1)) {
    fail_damaged(file, "metadata llama.attention.layer_norm_rms_epsilon: expected a number from 0 to 1");
  }
  if (!(facts.rope_theta > 0 && facts.rope_theta <= std::numeric_limits<float>::max())) {
    fail_damaged(file, "metadata llama.rope.freq_base: expected a number above 0");
  }
  if (facts.head_dim < 2 || facts.head_dim % 2 != 0 || facts.heads % facts.kv_heads != 0) {
    fail_damaged(file, fmt::format("expected an even head size and a multiple of key heads, found {} heads and {} key "
                                   "heads of {}",
                                   facts.heads, facts.kv_heads, facts.head_dim));
  }
  const GgufTensor* embedding = find_tensor(file, "token_embd.weight");
  if (embedding == nullptr) fail_damaged(file, "tensor token_embd.weight is missing");
  facts.vocabulary = embedding->shape[0];
  facts.tied = find_tensor(file, "output.weight") == nullptr;
  return facts;
}

std::vector<TensorToWrite> gguf_model_tensors(const GgufFile& file, const GgufModelFacts& facts, Dtype dtype,
                                              Float16Range& range) {
  if (static_cast<uint64_t>(facts.layers) > file.tensors().size()) {
    fail_damaged(file, fmt::format("{} layers, but only {} tensors", facts.layers, file.tensors().size()));
  }
  std::unordered_map<std::string_view, const GgufTensor*> stored;
  for (const GgufTensor& tensor : file.tensors()) stored.emplace(tensor.name, &tensor);

  std::vector<TensorToWrite> tensors;
  for (ExpectedTensor& expected : expected_tensors(facts)) {
    const auto found = stored.find(expected.gguf_name);
    if (found == stored.end()) fail_damaged(file, fmt::format("tensor {} is missing", expected.gguf_name));
    const GgufTensor& tensor = *found->second;
    if (tensor.shape != expected.shape) {
      fail_damaged(file, fmt::format("tensor {}: expected shape {}, found {}", tensor.name, shape_text(expected.shape),
                                     shape_text(tensor.shape)));
    }
    const int64_t head_dim = expected.heads > 0 ? facts.head_dim : 0;
    tensors.push_back({.name = std::move(expected.hf_name),
                       .dtype = dtype,
                       .shape = std::move(expected.shape),
                       .values = [&tensor, &range, dtype, head_dim](const ByteSink& sink) {
                         write_rows(tensor, dtype, head_dim, range, sink);
                       }});
    stored.erase(found);
  }
  if (!stored.empty()) {
    fail(file, fmt::format("tensor {} belongs to no plain llama model", quote_name(stored.begin()->first)),
         "start from the model's Hugging Face folder");
  }
  return tensors;
}

}  // namespace qtune
