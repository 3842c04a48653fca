// Launchers that pick and add whole rows, for the rows that predict a kept token. They enqueue and return; they
// allocate nothing and never synchronise. Legend: N rows of the wide array, M rows picked, D columns.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// out[m] = x[rows[m]]. Shapes: x (N, D), rows (M) int32 in 0..N-1 in any order, not checked; out (M, D).
/// T: float, __nv_bfloat16, or int32_t (kept ids and targets, D = 1).
/// Empty: num_picked = 0 launches nothing. Returns the launch's error.
template <class T>
struct GatherRows {
  int64_t num_picked = 0, dim = 0;
  const T* x = nullptr;
  const int32_t* rows = nullptr;
  T* out = nullptr;
};

template <class T>
cudaError_t launch_gather_rows(const GatherRows<T>& args, cudaStream_t stream);

/// x[rows[m]] += addend[m], in the order of m. Shapes: addend (M, D) float32; rows (M) int32 ascending, in 0..N-1, not
/// checked, a row may come several times in a row; x (N, D) float32.
struct ScatterAddRows {
  int64_t num_picked = 0, dim = 0;
  const float* addend = nullptr;
  const int32_t* rows = nullptr;
  float* x = nullptr;
};

cudaError_t launch_scatter_add_rows(const ScatterAddRows& args, cudaStream_t stream);

}  // namespace qtune
