// Rotary positions (RoFormer; halves apart, as Hugging Face stores q and k).
//
// Legend: N packed tokens, H query heads, K key/value heads, E head dimension (even).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

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

/// Angle of each pair of a head's dimensions at position 1: E / 2 values, theta^(-2j/E) before scaling.
std::vector<float> rope_frequencies(int64_t head_dim, double theta, const RopeScaling& scaling = {});

/// cos and sin of the angles. Out: (num_positions, E), cos in the first E/2 columns and sin in the last, float32.
at::Tensor make_rope_table(int64_t num_positions, const std::vector<float>& frequencies);

enum class RopeDirection { kForward, kBackward };

/// Rotates the q and k heads in place. Shapes: qkv_NX (N, (H + 2K) * E) compute dtype; positions_N (N) int32, each
/// below the table's rows. kBackward applies the transpose (for gradients).
void apply_rope(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table, int64_t num_heads,
                int64_t num_kv_heads, RopeDirection direction);

}  // namespace qtune
