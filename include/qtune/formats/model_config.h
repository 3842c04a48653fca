// What a checkpoint's config.json says about the model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "qtune/formats/dtype.h"

namespace qtune {

enum class RopeScalingType {
  kNone,
  kLinear,  // every frequency divided by `factor` (Chen et al. 2023, arXiv 2306.15595)
  kLlama3,  // Llama 3.1's: long waves divided by `factor`, short ones kept, those between blended
};

struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1;
  // kLlama3: waves longer than original_positions / low_freq_factor count as long, those shorter than
  // original_positions / high_freq_factor as short.
  double low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_positions = 8192;
};

struct ModelConfig {
  std::string model_type;  // "llama", "mistral", "qwen2", "qwen3"
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0;
  int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-6, rope_theta = 10000;
  RopeScaling rope_scaling;
  bool tied_embeddings = false;  // the head is the embedding table
  bool qkv_bias = false;         // biases on the q, k and v projections
  bool qk_norm = false;          // RMSNorm of each q and k head
  bool own_head_dim = true;      // the family has head_dim as a setting of its own
  int64_t sliding_window = 0;    // tokens that attention sees, its own included; 0: all before it
  std::vector<int32_t> eos_ids;  // generation_config.json's, else config.json's

  int64_t qkv_width() const { return (num_heads + 2 * num_kv_heads) * head_dim; }
  /// Weights of the whole model (a shared table counted once).
  int64_t num_parameters() const;
  /// Multiplications of one token's forward through the layers and, where it predicts a trained token, the head.
  int64_t layer_macs_per_token() const;
};

/// Reads config.json (keys of transformers 4 and 5) and, if there, generation_config.json of a model folder.
/// Throws: CheckpointError naming the file and the key: missing, wrong type, sizes that do not fit together, an
/// architecture or option that qtune would compute wrongly.
ModelConfig read_model_config(const std::filesystem::path& folder);

/// Writes the type of the weights into a config.json: transformers 4 reads torch_dtype, transformers 5 dtype; the keys
/// that are there are set, torch_dtype where there is none.
void set_config_dtype(nlohmann::ordered_json& config, Dtype dtype);

}  // namespace qtune
