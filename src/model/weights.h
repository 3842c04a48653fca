// Allocation and loading of a model's weights. Matrices that one product can serve together lie end to end (q, k, v;
// gate, up); their parameters are views of row ranges.
#pragma once

#include <filesystem>
#include <vector>

#include "qtune/model/model.h"

namespace qtune {

/// A weight in its three roles; undefined where the use does not need it.
struct WeightTensors {
  at::Tensor compute, master, gradient;
};

struct LayerWeights {
  WeightTensors input_norm, qkv, out, post_norm, gate_up, down;
  WeightTensors qkv_bias, query_norm, key_norm;  // undefined where the family has none
};

struct ModelWeightTensors {
  WeightTensors embedding, final_norm, head;  // head: the embedding's tensors when tied
  std::vector<LayerWeights> layers;
  std::vector<Parameter> parameters;  // in checkpoint order: embedding, layers, final norm, head
};

/// Throws: CheckpointError as Model::load.
ModelWeightTensors load_weights(const std::filesystem::path& folder, const ModelConfig& config,
                                const ModelOptions& options);

}  // namespace qtune
