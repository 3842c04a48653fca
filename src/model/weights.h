// Allocation and loading of a model's weights. Matrices that one product can serve together lie end to end (q, k, v;
// gate, up); their parameters are views of row ranges.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "qtune/model/model.h"
#include "qtune/ops/fp8.h"

namespace qtune {

/// A weight in its three roles; undefined where the use does not need it.
struct WeightTensors {
  at::Tensor compute, master, gradient;  // master: undefined where only slices are held, too
};

/// The adapters of one matrix, which may hold several modules' rows.
struct LoraWeights {
  struct Module {
    std::string name;  // "model.layers.0.self_attn.q_proj"
    int64_t first_row = 0, rows = 0;
    uint64_t dropout_stream = 0;
    WeightTensors a, b;  // a: rows of the whole's
  };
  WeightTensors a;  // (modules * rank, inputs): one product serves all modules
  std::vector<Module> modules;
};

struct LinearWeights : WeightTensors {
  Fp8Weight fp8;     // of `compute`, as prepare_fp8_scores() found it
  LoraWeights lora;  // no modules: none
};

struct LayerWeights {
  WeightTensors input_norm, post_norm;
  LinearWeights qkv, out, gate_up, down;
  WeightTensors qkv_bias, query_norm, key_norm;  // undefined where the family has none
};

struct ModelWeightTensors {
  WeightTensors embedding, final_norm, head;  // head: the embedding's tensors when tied
  std::vector<LayerWeights> layers;
  std::vector<Parameter> parameters;  // in checkpoint order: embedding, layers, final norm, head
  std::optional<LoraConfig> lora;
  std::vector<Parameter> lora_parameters;  // by layer, then module: A, B
};

/// With an adapter the model's own weights are frozen: no masters, no gradients.
/// Throws: CheckpointError as Model::load.
ModelWeightTensors load_weights(const std::filesystem::path& folder, const ModelConfig& config,
                                const ModelOptions& options);

}  // namespace qtune
