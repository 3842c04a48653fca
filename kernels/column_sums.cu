// One block for 32 columns: each warp sums every 16th partial of its columns, then the warps' sums are added in order.
#include "kernels/column_sums.h"

#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kColumns = kWarpSize, kGroups = 16;

__global__ void add_partial_sums_kernel(PartialSums a, float* out) {
  QTUNE_SHARED(float, sums, kGroups* kColumns);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, group = static_cast<int>(threadIdx.x) / kWarpSize;
  for (int64_t first = int64_t{blockIdx.x} * kColumns; first < a.dim; first += int64_t{gridDim.x} * kColumns) {
    const int64_t column = first + lane;
    float sum = 0;
    if (column < a.dim) {
#pragma unroll 8
      for (int64_t p = group; p < a.num_partials; p += kGroups) sum += a.partials[p * a.row_stride + column];
    }
    sums[group * kColumns + lane] = sum;
    __syncthreads();
    if (group == 0 && column < a.dim) {
      float total = 0;
      for (int g = 0; g < kGroups; ++g) total += sums[g * kColumns + lane];
      out[column] += total;
    }
    __syncthreads();  // sums is written again for the next columns
  }
}

}  // namespace

cudaError_t launch_add_partial_sums(const PartialSums& sums, float* out, cudaStream_t stream) {
  if (sums.dim == 0) return cudaSuccess;
  return launch<add_partial_sums_kernel>({grid_for(ceil_div(sums.dim, kColumns)), kGroups * kColumns, 0, stream}, sums,
                                         out);
}

}  // namespace qtune
