// Launchers of SwiGLU. They enqueue and return; they allocate nothing and never synchronise.
// T is the compute dtype, float or __nv_bfloat16; arithmetic is float32.
// Legend: N rows, F feed-forward size.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// h = silu(gate) * up. Shapes: gate_up (N, 2F), gate first; out: h (N, F).
/// Empty: num_rows = 0 launches nothing. Returns the launch's error.
template <class T>
struct Swiglu {
  int64_t num_rows = 0, dim = 0;  // N, F
  const T* gate_up = nullptr;
  T* h = nullptr;
};

template <class T>
cudaError_t launch_swiglu(const Swiglu<T>& args, cudaStream_t stream);

/// Shapes: dh (N, F), gate_up (N, 2F); out: dgate_up (N, 2F), may be gate_up; h (N, F) gets the forward's bits again
/// (needed for the weight gradient), and may be dh.
template <class T>
struct SwigluBackward {
  int64_t num_rows = 0, dim = 0;
  const T *dh = nullptr, *gate_up = nullptr;
  T *dgate_up = nullptr, *h = nullptr;
};

template <class T>
cudaError_t launch_swiglu_backward(const SwigluBackward<T>& args, cudaStream_t stream);

}  // namespace qtune
