// What a training step keeps in memory, counted from the model's sizes.
#pragma once

#include <ATen/core/ScalarType.h>

#include <cstdint>
#include <optional>

#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/model_config.h"

namespace qtune {

/// How a model is trained, as far as memory asks.
struct TrainingShape {
  at::ScalarType compute_dtype = at::kFloat;
  int64_t num_tokens = 0, num_targets = 0;  // of the largest micro-batch: packed tokens, and those in the loss
  std::optional<LoraConfig> lora;           // then only the adapter has masters, gradients and optimizer state
  bool gradient_checkpointing = false;
  bool on_gpu = false;
  int num_shards = 1;  // of the optimizer's state and of the masters beside bfloat16 weights
  int64_t num_eval_tokens = 0, num_eval_targets = 0;  // of the largest batch of an evaluation; 0: none
  bool fp8_scores = false;                            // the layers' weights lie there on 8 bits too
  int64_t other_parameters = 0;                       // of models that tokens are compared with
};

struct MemoryEstimate {
  int64_t weights = 0;      // float32 masters and the copies that the passes read; frozen: those; other models'
  int64_t gradients = 0;    // float32
  int64_t optimizer = 0;    // AdamW's two moments, float32
  int64_t activations = 0;  // saved between forward and backward, for all tokens of a micro-batch
  int64_t workspace = 0;    // buffers of one layer, of the head's chunks and of bfloat16 weight gradients
  int64_t program = 0;      // LibTorch and qtune themselves, with LibTorch's compiled products: measured
  int64_t total() const { return weights + gradients + optimizer + activations + workspace + program; }
};

/// Resident bytes at the peak of training; on a GPU those of its memory (counted from the sources, not yet measured).
MemoryEstimate estimate_training_memory(const ModelConfig& config, const TrainingShape& shape);

}  // namespace qtune
