// Follows the buffers of model.cpp and linear_cross_entropy.cpp: a change there is a change here.
#include "qtune/model/memory_estimate.h"

#include <algorithm>

#include "qtune/model/model.h"

namespace qtune {

MemoryEstimate estimate_training_memory(const ModelConfig& c, at::ScalarType compute_dtype, int64_t num_tokens,
                                        int64_t num_targets, const std::optional<LoraConfig>& lora) {
  constexpr int64_t kFloat = 4;
  const bool half = compute_dtype == at::kBFloat16;
  const int64_t element = half ? 2 : 4, p = c.num_parameters(), d = c.hidden_size, f = c.intermediate_size;
  const int64_t x = c.qkv_width(), w = c.num_heads * c.head_dim;
  MemoryEstimate m;
  const int64_t trained = lora ? count_lora_parameters(c, *lora) : p;
  m.weights = trained * kFloat + (half ? trained * element : 0) + (lora ? p * element : 0);
  m.gradients = trained * kFloat;
  m.optimizer = 2 * trained * kFloat;
  const int64_t normed_heads = c.qk_norm ? c.num_heads + c.num_kv_heads : 0;
  const int64_t saved_per_token =
      kFloat * (2 * d + 2 + c.num_heads + normed_heads) + element * (x + w + 2 * f + normed_heads * c.head_dim);
  m.activations = c.num_layers * num_tokens * saved_per_token;
  // normed, projected, layer_out, dy, dnormed; h, dh; dattention, dqkv; x_last and dx in float32.
  int64_t layer = num_tokens * (element * (5 * d + 2 * f + w + x) + kFloat * 2 * d);
  const int64_t rows = num_targets * (2 * element * d + 2 * kFloat * d);
  const int64_t head_table = c.vocab_size * d;
  const int64_t chunk = std::min<int64_t>(48 << 20, num_targets * c.vocab_size * element);
  if (lora) layer += num_tokens * element * (6 * lora->rank + (lora->dropout > 0 ? std::max(d, f) : 0));
  m.workspace = layer + rows + chunk + (half && !lora ? 2 * element * head_table : 0);
  m.program = int64_t{125} << 20;
  return m;
}

}  // namespace qtune
