// A block a picked row, or several rows a block where rows are short.
#include "kernels/rows.h"

#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 2048;  // more than any GPU runs at once; more rows are walked by a stride

/// A block of x by y threads: x over the packs of a row, y over rows.
LaunchConfig row_blocks(int64_t num_rows, int64_t num_packs, cudaStream_t stream) {
  unsigned x = 1;
  while (x < kThreads && x < num_packs) x *= 2;
  const dim3 block(x, kThreads / x);
  return {grid_for(std::min(ceil_div(num_rows, block.y), kMaxBlocks)), block, 0, stream};
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) gather_rows_kernel(GatherRows<T> a) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.y + threadIdx.y, stride = int64_t{gridDim.x} * blockDim.y;
  for (int64_t m = first; m < a.num_picked; m += stride) {
    const T* row = a.x + a.rows[m] * a.dim;
    for (int64_t j = int64_t{threadIdx.x} * W; j < a.dim; j += int64_t{blockDim.x} * W) {
      store(a.out + m * a.dim + j, load<W>(row + j));
    }
  }
}

/// The first of several equal rows adds them all.
template <int W>
__global__ void __launch_bounds__(kThreads) scatter_add_rows_kernel(ScatterAddRows a) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.y + threadIdx.y, stride = int64_t{gridDim.x} * blockDim.y;
  for (int64_t m = first; m < a.num_picked; m += stride) {
    const int32_t row = a.rows[m];
    if (m > 0 && a.rows[m - 1] == row) continue;
    for (int64_t j = int64_t{threadIdx.x} * W; j < a.dim; j += int64_t{blockDim.x} * W) {
      float* out = a.x + row * a.dim + j;
      Pack<float, W> sum = load<W>(out);
      for (int64_t i = m; i < a.num_picked && a.rows[i] == row; ++i) {
        const Pack<float, W> addend = load<W>(a.addend + i * a.dim + j);
        for (int w = 0; w < W; ++w) sum.v[w] += addend.v[w];
      }
      store(out, sum);
    }
  }
}

}  // namespace

template <class T>
cudaError_t launch_gather_rows(const GatherRows<T>& a, cudaStream_t stream) {
  if (a.num_picked == 0 || a.dim == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  if (allows_packs<kPack>(a.x, a.dim) && allows_packs<kPack>(a.out, a.dim)) {
    return launch<gather_rows_kernel<T, kPack>>(row_blocks(a.num_picked, a.dim / kPack, stream), a);
  }
  return launch<gather_rows_kernel<T, 1>>(row_blocks(a.num_picked, a.dim, stream), a);
}

cudaError_t launch_scatter_add_rows(const ScatterAddRows& a, cudaStream_t stream) {
  if (a.num_picked == 0 || a.dim == 0) return cudaSuccess;
  if (allows_packs<4>(a.addend, a.dim) && allows_packs<4>(a.x, a.dim)) {
    return launch<scatter_add_rows_kernel<4>>(row_blocks(a.num_picked, a.dim / 4, stream), a);
  }
  return launch<scatter_add_rows_kernel<1>>(row_blocks(a.num_picked, a.dim, stream), a);
}

template cudaError_t launch_gather_rows(const GatherRows<float>&, cudaStream_t);
template cudaError_t launch_gather_rows(const GatherRows<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_gather_rows(const GatherRows<int32_t>&, cudaStream_t);

}  // namespace qtune
