// Rotary positions (RoFormer; halves apart, as Hugging Face stores q and k).
//
// Legend: N packed tokens, H query heads, K key/value heads, E head dimension (even).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "qtune/formats/model_config.h"

namespace qtune {

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
