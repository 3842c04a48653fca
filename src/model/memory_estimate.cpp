// Follows the buffers of model.cpp and linear_cross_entropy.cpp: a change there is a change here.
#include "qtune/model/memory_estimate.h"

#include <algorithm>

#include "qtune/model/model.h"

namespace qtune {
namespace {

constexpr int64_t kFloat = 4;

/// Bytes a token of what one layer saves besides its float32 input.
int64_t saved_per_token(const ModelConfig& c, int64_t element) {
  const int64_t normed_heads = c.qk_norm ? c.num_heads + c.num_kv_heads : 0;
  return kFloat * (c.hidden_size + 2 + c.num_heads + normed_heads) +
         element * (c.qkv_width() + c.num_heads * c.head_dim + 2 * c.intermediate_size + normed_heads * c.head_dim);
}

int64_t workspace_bytes(const ModelConfig& c, const TrainingShape& shape, int64_t element) {
  const int64_t d = c.hidden_size, f = c.intermediate_size, x = c.qkv_width(), w = c.num_heads * c.head_dim;
  // normed, projected, layer_out, dy, dnormed; h, dh; dattention, dqkv; x_last and dx in float32.
  int64_t bytes = shape.num_tokens * (element * (5 * d + 2 * f + w + x) + kFloat * 2 * d);
  bytes += shape.num_targets * (2 * element * d + 2 * kFloat * d);
  // Logits of a chunk of rows.
  const int64_t tile = shape.on_gpu ? std::max<int64_t>(96 << 20, 128 * c.vocab_size * element) : 48 << 20;
  bytes += std::min(tile, shape.num_targets * c.vocab_size * element);
  // Flash attention's results before they are copied, and its float32 sum for dq.
  if (shape.on_gpu) bytes += shape.num_tokens * (element * 4 * w + kFloat * w);
  if (shape.lora) {
    const int64_t dropped = shape.lora->dropout > 0 ? std::max(d, f) : 0;
    bytes += shape.num_tokens * element * (6 * shape.lora->rank + dropped);
  } else if (element < kFloat && !shape.on_gpu) {
    bytes += element * c.vocab_size * d + element * std::max(2 * f, x) * d;  // weight gradients before they are added
  }
  return bytes;
}

/// A byte a weight of the layers' products, and their rows' scales.
int64_t fp8_bytes(const ModelConfig& c) {
  const int64_t d = c.hidden_size, f = c.intermediate_size, x = c.qkv_width(), w = c.num_heads * c.head_dim;
  return c.num_layers * (d * x + w * d + 3 * f * d + kFloat * (x + 2 * d + 2 * f));
}

/// An evaluation runs in the same buffers, one layer's at a time; they grow where its batches are larger.
void add_evaluation(MemoryEstimate& m, const ModelConfig& c, const TrainingShape& shape, int64_t element) {
  const int64_t more_tokens = std::max<int64_t>(0, shape.num_eval_tokens - shape.num_tokens);
  const int64_t more_targets = std::max<int64_t>(0, shape.num_eval_targets - shape.num_targets);
  m.activations += more_tokens * (kFloat * c.hidden_size + saved_per_token(c, element));
  m.workspace += more_tokens * element * (3 * c.hidden_size + c.intermediate_size);  // normed, projected, layer_out; h
  m.workspace += more_targets * (element + kFloat) * c.hidden_size;
}

}  // namespace

MemoryEstimate estimate_training_memory(const ModelConfig& c, const TrainingShape& shape) {
  const bool half = shape.compute_dtype == at::kBFloat16;
  const int64_t element = half ? 2 : 4, p = c.num_parameters();
  const int64_t trained = shape.lora ? count_lora_parameters(c, *shape.lora) : p;
  const int64_t input_per_token = kFloat * c.hidden_size, saved = saved_per_token(c, element);
  MemoryEstimate m;
  const int64_t masters = trained * kFloat / (half && !shape.lora ? shape.num_shards : 1);
  m.weights = masters + (half ? trained * element : 0) + (shape.lora ? p * element : 0);
  m.weights += shape.other_parameters * element + (shape.fp8_scores ? fp8_bytes(c) : 0);
  m.gradients = trained * kFloat;
  m.optimizer = 2 * trained * kFloat / shape.num_shards;
  m.activations = shape.num_tokens *
                  (c.num_layers * input_per_token + (shape.gradient_checkpointing ? saved : c.num_layers * saved));
  m.workspace = workspace_bytes(c, shape, element);
  add_evaluation(m, c, shape, element);
  m.program = int64_t{shape.on_gpu ? 64 : 175} << 20;  // on a GPU the workspaces of cuBLAS
  return m;
}

}  // namespace qtune
