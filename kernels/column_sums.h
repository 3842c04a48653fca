// Second stage of sums over rows (weight and bias gradients): adds the partial sums of many blocks in a fixed order.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// Partial sums (P, D) with `row_stride` floats from row to row, P = num_partials.
struct PartialSums {
  const float* partials = nullptr;
  int64_t num_partials = 0, row_stride = 0, dim = 0;
};

/// out[d] += sum over p of partials[p][d]. Empty: dim = 0 launches nothing. Returns the launch's error.
cudaError_t launch_add_partial_sums(const PartialSums& sums, float* out, cudaStream_t stream);

}  // namespace qtune
