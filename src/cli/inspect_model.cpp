#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "inspect.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/formats/model_config.h"
#include "qtune/formats/safetensors.h"
#include "qtune/model/memory_estimate.h"
#include "streams.h"

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

struct TrainingKind {
  const char *finetuning_type, *compute;
  TrainingShape shape;
};

std::vector<TrainingKind> training_kinds(const InspectModelOptions& options) {
  const LoraConfig lora{.rank = options.lora_rank, .targets = lora_targets({"all"})};
  std::vector<TrainingKind> kinds;
  for (const bool adapts : {false, true}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      kinds.push_back({.finetuning_type = adapts ? "lora" : "full",
                       .compute = dtype == at::kFloat ? "float32" : "bfloat16",
                       .shape = {.compute_dtype = dtype,
                                 .num_tokens = options.batch_size * options.length,
                                 .num_targets = options.batch_size * options.length / 2}});
      if (adapts) kinds.back().shape.lora = lora;
    }
  }
  return kinds;
}

MemoryEstimate checkpointed(const ModelConfig& config, TrainingShape shape) {
  shape.gradient_checkpointing = true;
  return estimate_training_memory(config, shape);
}

void show_memory(const ModelConfig& config, const InspectModelOptions& options) {
  fmt::print(
      "\nmemory of training with micro-batches of {} samples of {} tokens, half of them trained; LoRA of rank {}\n",
      options.batch_size, options.length, options.lora_rank);
  fmt::print("{:<5} {:<9} {:>10} {:>10} {:>10} {:>11} {:>10} {:>10} {:>15}\n", "", "compute", "weights", "gradients",
             "optimizer", "activations", "workspace", "total", "checkpointing *");
  const auto size = [](int64_t bytes) { return format_bytes(static_cast<uint64_t>(bytes)); };
  for (const TrainingKind& kind : training_kinds(options)) {
    const MemoryEstimate m = estimate_training_memory(config, kind.shape);
    fmt::print("{:<5} {:<9} {:>10} {:>10} {:>10} {:>11} {:>10} {:>10} {:>15}\n", kind.finetuning_type, kind.compute,
               size(m.weights), size(m.gradients), size(m.optimizer), size(m.activations), size(m.workspace),
               size(m.total()), size(checkpointed(config, kind.shape).total()));
  }
  fmt::print("total: with {} of the program itself. *: total with gradient_checkpointing\n",
             size(estimate_training_memory(config, {}).program));
}

nlohmann::ordered_json memory_json(const ModelConfig& config, const InspectModelOptions& options) {
  auto rows = nlohmann::ordered_json::array();
  for (const TrainingKind& kind : training_kinds(options)) {
    const MemoryEstimate m = estimate_training_memory(config, kind.shape);
    rows.push_back({{"finetuning_type", kind.finetuning_type},
                    {"compute_dtype", kind.compute},
                    {"weights", m.weights},
                    {"gradients", m.gradients},
                    {"optimizer", m.optimizer},
                    {"activations", m.activations},
                    {"workspace", m.workspace},
                    {"program", m.program},
                    {"total", m.total()},
                    {"total_gradient_checkpointing", checkpointed(config, kind.shape).total()}});
  }
  return {{"batch_size", options.batch_size},
          {"length", options.length},
          {"lora_rank", options.lora_rank},
          {"bytes", rows}};
}

void show_json(const ModelConfig& c, const InspectModelOptions& options) {
  const nlohmann::ordered_json facts = {{"model", options.folder},
                                        {"architecture", c.model_type},
                                        {"parameters", c.num_parameters()},
                                        {"num_layers", c.num_layers},
                                        {"hidden_size", c.hidden_size},
                                        {"intermediate_size", c.intermediate_size},
                                        {"num_heads", c.num_heads},
                                        {"num_kv_heads", c.num_kv_heads},
                                        {"head_dim", c.head_dim},
                                        {"vocab_size", c.vocab_size},
                                        {"tied_embeddings", c.tied_embeddings},
                                        {"max_positions", c.max_positions},
                                        {"sliding_window", c.sliding_window},
                                        {"eos_ids", c.eos_ids},
                                        {"memory", memory_json(c, options)}};
  write_output(facts.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace

int inspect_model(const InspectModelOptions& options) {
  const std::string& folder = options.folder;
  const ModelConfig c = read_model_config(folder);
  const ModelWeights weights(folder);
  if (options.json) {
    show_json(c, options);
    return kExitOk;
  }
  line("model", folder);
  line("architecture", c.model_type);
  line("parameters", fmt::format("{:.1f} M", static_cast<double>(c.num_parameters()) / 1e6));
  line("stored", fmt::format("{} tensors ({})", weights.tensors().size(), stored_types(weights)));
  line("layers", fmt::format("{}, hidden {}, feed-forward {}", c.num_layers, c.hidden_size, c.intermediate_size));
  line("attention", fmt::format("{} heads of {}, {} key/value heads", c.num_heads, c.head_dim, c.num_kv_heads));
  line("vocabulary", fmt::format("{}{}", c.vocab_size, c.tied_embeddings ? " (head tied to the embedding)" : ""));
  line("positions",
       fmt::format("{}, rope theta {:g}{}", c.max_positions, c.rope_theta,
                   c.sliding_window > 0 ? fmt::format(", attention sees the last {}", c.sliding_window) : ""));
  line("end of sequence", fmt::format("{}", fmt::join(c.eos_ids, ", ")));
  const double forward = 2.0 * static_cast<double>(c.layer_macs_per_token() + c.vocab_size * c.hidden_size);
  line("compute per token", fmt::format("{:.2f} GFLOP forward, {:.2f} trained", forward / 1e9, 3 * forward / 1e9));
  show_memory(c, options);
  return kExitOk;
}

}  // namespace qtune
