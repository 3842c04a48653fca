// Adapters on a model's linear layers: new ones, or from PEFT's files.
#pragma once

#include "weights.h"

namespace qtune {

/// Memory on the model's device for a weight, in the roles that options.use needs.
WeightTensors allocate_weight(at::IntArrayRef shape, at::ScalarType dtype, const ModelOptions& options);

/// Fills float32 or bfloat16 memory from a file's tensor of the same size.
void read_weight(const TensorView& view, const at::Tensor& target);

/// Adds the adapter that the options name to loaded weights. A new one begins as PEFT's: A uniform in
/// +-1 / sqrt(inputs) by the seed, B zero.
/// Throws: CheckpointError as LoraAdapter and check_lora_files.
void add_lora(ModelWeightTensors& weights, const std::filesystem::path& folder, const ModelConfig& config,
              const ModelOptions& options);

}  // namespace qtune
