// Launchers of the RMSNorm of each query and key head by itself (Qwen3's q_norm and k_norm), on packed qkv rows. They
// enqueue and return; they allocate nothing and never synchronise.
// T is the compute dtype, float or __nv_bfloat16.
// Legend: N rows, H query heads, K key/value heads, E head dimension (1 to kMaxHeadDim). A row of qkv holds H query,
// then K key, then K value heads; value heads are not touched.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

inline constexpr int64_t kMaxHeadDim = 256;

struct HeadShape {
  int64_t num_rows = 0, num_heads = 0, num_kv_heads = 0, head_dim = 0;
};

/// Normalises the q and k heads in place.
/// Shapes: qkv (N, (H + 2K) E); weights (E) float32; out: raw (N, (H + K) E) gets the heads as they were, rstd
/// (N, H + K) 1 / rms of each.
/// Empty: num_rows = 0 launches nothing. cudaErrorInvalidValue: head_dim outside 1..kMaxHeadDim.
template <class T>
struct HeadNorm {
  HeadShape shape;
  T* qkv = nullptr;
  const float *query_weight = nullptr, *key_weight = nullptr;
  float epsilon = 0;
  T* raw = nullptr;
  float* rstd = nullptr;
};

template <class T>
cudaError_t launch_head_norm(const HeadNorm<T>& args, cudaStream_t stream);

/// Gradients of the normalised heads become those of the raw ones, in place.
/// Shapes: dqkv as qkv; raw and rstd as the forward left them; dquery_weight, dkey_weight (E) float32 are added to.
/// Both of them and workspace null: frozen weights. workspace: head_norm_backward_workspace floats.
/// Sums have a fixed order: equal inputs give equal bits.
template <class T>
struct HeadNormBackward {
  HeadShape shape;
  T* dqkv = nullptr;
  const T* raw = nullptr;
  const float *rstd = nullptr, *query_weight = nullptr, *key_weight = nullptr;
  float *dquery_weight = nullptr, *dkey_weight = nullptr;
  float* workspace = nullptr;
};

template <class T>
cudaError_t launch_head_norm_backward(const HeadNormBackward<T>& args, cudaStream_t stream);

/// Floats that launch_head_norm_backward needs where the weights are trained.
int64_t head_norm_backward_workspace(const HeadShape& shape);

}  // namespace qtune
