// Launcher of rotary positions on packed qkv rows. It enqueues and returns; it allocates nothing and never
// synchronises. T is the compute dtype, float or __nv_bfloat16.
// Legend: N rows, H query heads, K key/value heads, E head dimension (even), P positions.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

enum class RotaryDirection { kForward, kBackward };

/// Rotates the q and k heads of qkv in place (halves of a head apart, as Hugging Face stores them). kBackward applies
/// the transpose, for gradients.
/// Shapes: qkv (N, (H + 2K) E); positions (N) int32 in 0..P-1, not checked; table (P, E) float32, cos in the first E /
/// 2 columns, sin in the last. Empty: num_rows = 0 launches nothing. cudaErrorInvalidValue: an odd head_dim. Returns
/// the launch's error.
template <class T>
struct Rope {
  int64_t num_rows = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
  T* qkv = nullptr;
  const int32_t* positions = nullptr;
  const float* table = nullptr;
  RotaryDirection direction = RotaryDirection::kForward;
};

template <class T>
cudaError_t launch_rope(const Rope<T>& args, cudaStream_t stream);

}  // namespace qtune
