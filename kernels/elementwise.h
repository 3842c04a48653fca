// Launchers of what is left between the fused ops. They enqueue and return; they allocate nothing and never
// synchronise. T is the compute dtype, float or __nv_bfloat16. Empty: zero elements or rows launch nothing. Each
// returns the launch's error.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// to[i] = from[i]; to bfloat16: round to nearest even, NaN stays NaN. `size` elements, arrays apart from each other.
cudaError_t launch_convert(const float* from, __nv_bfloat16* to, int64_t size, cudaStream_t stream);
cudaError_t launch_convert(const __nv_bfloat16* from, float* to, int64_t size, cudaStream_t stream);

/// sum[i] += addend[i], in float32.
template <class T>
cudaError_t launch_accumulate(const T* addend, float* sum, int64_t size, cudaStream_t stream);

/// y = x / (1 - probability), or 0 with that probability. Element i's draw depends on seed, stream and i alone (two
/// elements share one 64-bit draw, kernels/counter_rng.h), so the same call gives the backward. y may be x.
/// probability in [0, 1).
template <class T>
struct Dropout {
  int64_t size = 0;
  const T* x = nullptr;
  T* y = nullptr;
  double probability = 0;
  uint64_t seed = 0, stream = 0;
};

template <class T>
cudaError_t launch_dropout(const Dropout<T>& args, cudaStream_t stream);

/// y[n] += bias, rounded to T. Shapes: y (N, O), bias (O) float32.
template <class T>
struct AddBias {
  int64_t num_rows = 0, dim = 0;  // N, O
  const float* bias = nullptr;
  T* y = nullptr;
};

template <class T>
cudaError_t launch_add_bias(const AddBias<T>& args, cudaStream_t stream);

/// dbias += sum of dy over its rows. Shapes: dy (N, O), dbias (O) float32; workspace: bias_gradient_workspace floats,
/// content undefined before and after. The sum has a fixed order: equal inputs give equal bits.
template <class T>
struct BiasGradient {
  int64_t num_rows = 0, dim = 0;
  const T* dy = nullptr;
  float *dbias = nullptr, *workspace = nullptr;
};

template <class T>
cudaError_t launch_bias_gradient(const BiasGradient<T>& args, cudaStream_t stream);

/// Floats that launch_bias_gradient needs.
int64_t bias_gradient_workspace(int64_t num_rows, int64_t dim);

}  // namespace qtune
