// A warp a row: once over it for the largest magnitude, once more (from the cache) to round.
#include "kernels/fp8_rows.h"

#include <cuda_fp8.h>

#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;

/// The larger one; NaN if one is NaN (fmaxf passes over it).
__device__ float larger(float a, float b) { return a != a || b != b ? NAN : fmaxf(a, b); }

template <int W>
__device__ float largest_magnitude(const __nv_bfloat16* row, int64_t dim, int lane) {
  float largest = 0;
  for (int64_t k = int64_t{lane} * W; k < dim; k += int64_t{kWarpSize} * W) {
    const Pack<__nv_bfloat16, W> pack = load<W>(row + k);
    for (int w = 0; w < W; ++w) largest = larger(largest, fabsf(to_float(pack.v[w])));
  }
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    largest = larger(largest, __shfl_xor_sync(kFullWarp, largest, offset));
  }
  return largest;
}

template <int W>
__global__ void __launch_bounds__(kThreads) fp8_rows_kernel(Fp8Rows a) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int64_t n = int64_t{blockIdx.x} * kWarps + warp; n < a.num_rows; n += int64_t{gridDim.x} * kWarps) {
    const __nv_bfloat16* row = a.x + n * a.dim;
    const float largest = largest_magnitude<W>(row, a.dim, lane);
    const float scale = largest == 0.0f ? 1.0f : largest / kLargestE4m3;
    const float inverse = 1.0f / scale;
    for (int64_t k = int64_t{lane} * W; k < a.dim; k += int64_t{kWarpSize} * W) {
      const Pack<__nv_bfloat16, W> pack = load<W>(row + k);
      Pack<uint8_t, W> rounded;
      for (int w = 0; w < W; ++w) {
        rounded.v[w] = __nv_cvt_float_to_fp8(to_float(pack.v[w]) * inverse, __NV_SATFINITE, __NV_E4M3);
      }
      store<W>(a.values + n * a.dim + k, rounded);
    }
    if (lane == 0) a.scales[n] = scale;
  }
}

}  // namespace

cudaError_t launch_fp8_rows(const Fp8Rows& a, cudaStream_t stream) {
  if (a.num_rows == 0) return cudaSuccess;
  const LaunchConfig config{grid_for(ceil_div(a.num_rows, kWarps)), kThreads, 0, stream};
  if (allows_packs<8>(a.x, a.dim) && allows_packs<8>(a.values, a.dim)) return launch<fp8_rows_kernel<8>>(config, a);
  return launch<fp8_rows_kernel<1>>(config, a);
}

}  // namespace qtune
