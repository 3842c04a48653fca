// Sums over the threads of a warp or block, in an order that depends on the number of threads alone.
#pragma once

#include "kernels/device.h"

namespace qtune {

inline constexpr int kMaxWarps = 32;

/// Sum over each group of `width` neighbouring lanes (a power of two), the same bits in all of them. All lanes of the
/// warp take part.
template <class T>
__device__ T warp_sum(T value, int width = kWarpSize) {
  for (int offset = width / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullWarp, value, offset);
  return value;
}

/// Sum over the block, the same bits in all threads. `warps`: kMaxWarps elements of shared memory, for this alone.
template <class T>
__device__ T block_sum(T value, SharedPtr<T> warps) {
  value = warp_sum(value);
  const int num_warps = static_cast<int>(blockDim.x) / kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  if (num_warps == 1) return value;
  if (threadIdx.x % kWarpSize == 0) warps[warp] = value;
  __syncthreads();
  T total = 0;
  for (int w = 0; w < num_warps; ++w) total += warps[w];
  __syncthreads();  // the next call writes
  return total;
}

}  // namespace qtune
