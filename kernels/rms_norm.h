// Launchers of RMSNorm over the residual stream. They enqueue and return; they allocate nothing and never synchronise.
// T is the compute dtype, float or __nv_bfloat16; residual stream, weights and all sums are float32.
// Legend: N rows, D hidden size. Arrays are dense, row after row; 16-byte alignment is faster, not required.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// RMSNorm with the residual addition before it: x_out = x + delta, y = x_out * rstd * weight,
/// rstd = 1 / sqrt(mean(x_out^2) + epsilon).
/// Shapes: x, x_out (N, D), may be one array; delta (N, D) or null: then x_out is neither read nor written, and x is
/// what is normalised; weight (D); out: y (N, D), rstd (N).
/// Empty: num_rows = 0 launches nothing. Returns the launch's error.
template <class T>
struct AddRmsNorm {
  int64_t num_rows = 0, dim = 0;
  const float* x = nullptr;
  const T* delta = nullptr;
  float* x_out = nullptr;
  const float* weight = nullptr;
  float epsilon = 0;
  T* y = nullptr;
  float* rstd = nullptr;
};

template <class T>
cudaError_t launch_add_rms_norm(const AddRmsNorm<T>& args, cudaStream_t stream);

/// The y of launch_add_rms_norm again, bit for bit, from its saved x_out and rstd.
template <class T>
struct RmsNormAgain {
  int64_t num_rows = 0, dim = 0;
  const float *x = nullptr, *rstd = nullptr, *weight = nullptr;
  T* y = nullptr;
};

template <class T>
cudaError_t launch_rms_norm_again(const RmsNormAgain<T>& args, cudaStream_t stream);

/// Backward of y = x * rstd(x) * weight.
/// Shapes: dy, x (N, D), rstd (N), weight (D); dx (N, D) and dweight (D) are added to. dweight and workspace null: a
/// frozen weight. workspace: rms_norm_backward_workspace floats, content undefined before and after.
/// Sums have a fixed order: equal inputs give equal bits. Empty: num_rows = 0 launches nothing.
template <class T>
struct RmsNormBackward {
  int64_t num_rows = 0, dim = 0;
  const T* dy = nullptr;
  const float *x = nullptr, *rstd = nullptr, *weight = nullptr;
  float *dx = nullptr, *dweight = nullptr;
  float* workspace = nullptr;
};

template <class T>
cudaError_t launch_rms_norm_backward(const RmsNormBackward<T>& args, cudaStream_t stream);

/// Floats that launch_rms_norm_backward needs where the weight is trained.
int64_t rms_norm_backward_workspace(int64_t num_rows, int64_t dim);

}  // namespace qtune
