#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "inspect.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/formats/model_config.h"
#include "qtune/formats/safetensors.h"
#include "qtune/model/memory_estimate.h"

namespace qtune {
namespace {

void line(const char* name, const std::string& value) { fmt::print("{:<22} {}\n", name, value); }

std::string stored_types(const ModelWeights& weights) {
  std::map<std::string, int64_t> count;
  for (const auto& [name, tensor] : weights.tensors()) ++count[std::string(dtype_name(tensor->dtype))];
  std::string text;
  for (const auto& [type, number] : count) text += fmt::format("{}{} x {}", text.empty() ? "" : ", ", number, type);
  return text;
}

void show_memory(const ModelConfig& config) {
  // The defaults' micro-batch (8 samples), with a length that is usual for instructions, half of it answers.
  constexpr int64_t kSamples = 8, kTokens = 256;
  fmt::print("\nmemory of full fine-tuning, micro-batches of {} samples of {} tokens:\n", kSamples, kTokens);
  fmt::print("{:<10} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}\n", "compute", "weights", "gradients", "optimizer",
             "activations", "workspace", "total");
  for (const auto& [name, dtype] : {std::pair{"float32", at::kFloat}, std::pair{"bfloat16", at::kBFloat16}}) {
    const MemoryEstimate m = estimate_training_memory(config, dtype, kSamples * kTokens, kSamples * kTokens / 2);
    fmt::print("{:<10} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}\n", name, format_bytes(m.weights),
               format_bytes(m.gradients), format_bytes(m.optimizer), format_bytes(m.activations),
               format_bytes(m.workspace), format_bytes(m.total()));
  }
}

}  // namespace

int inspect_model(const std::string& folder) {
  const ModelConfig c = read_model_config(folder);
  const ModelWeights weights(folder);
  line("model", folder);
  line("architecture", c.model_type);
  line("parameters", fmt::format("{:.1f} M", static_cast<double>(c.num_parameters()) / 1e6));
  line("stored", fmt::format("{} tensors ({})", weights.tensors().size(), stored_types(weights)));
  line("layers", fmt::format("{}, hidden {}, feed-forward {}", c.num_layers, c.hidden_size, c.intermediate_size));
  line("attention", fmt::format("{} heads of {}, {} key/value heads", c.num_heads, c.head_dim, c.num_kv_heads));
  line("vocabulary", fmt::format("{}{}", c.vocab_size, c.tied_embeddings ? " (head tied to the embedding)" : ""));
  line("positions", fmt::format("{}, rope theta {:g}", c.max_positions, c.rope_theta));
  line("end of sequence", fmt::format("{}", fmt::join(c.eos_ids, ", ")));
  const double forward = 2.0 * static_cast<double>(c.layer_macs_per_token() + c.vocab_size * c.hidden_size);
  line("compute per token", fmt::format("{:.2f} GFLOP forward, {:.2f} trained", forward / 1e9, 3 * forward / 1e9));
  show_memory(c);
  return kExitOk;
}

}  // namespace qtune
