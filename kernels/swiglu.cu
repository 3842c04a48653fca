// A block takes a stretch of columns (blockIdx.x) of every gridDim.y-th row: no division is needed to find gate and up.
#include "kernels/swiglu.h"

#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxColumnBlocks = 64;  // more columns are walked by a stride

/// 1 / (1 + e^-x): 0 and 1 at the ends, without overflow to NaN.
__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

template <class T, int W>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(Swiglu<T> a) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * W,
                stride = int64_t{gridDim.x} * blockDim.x * W;
  for (int64_t row = blockIdx.y; row < a.num_rows; row += gridDim.y) {
    const T* gate_row = a.gate_up + row * 2 * a.dim;
    for (int64_t j = first; j < a.dim; j += stride) {
      const Pack<T, W> gate = load<W>(gate_row + j), up = load<W>(gate_row + a.dim + j);
      Pack<T, W> h;
      for (int w = 0; w < W; ++w) {
        const float g = to_float(gate.v[w]);
        h.v[w] = from_float<T>(g * sigmoid(g) * to_float(up.v[w]));
      }
      store(a.h + row * a.dim + j, h);
    }
  }
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) swiglu_backward_kernel(SwigluBackward<T> a) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * W,
                stride = int64_t{gridDim.x} * blockDim.x * W;
  for (int64_t row = blockIdx.y; row < a.num_rows; row += gridDim.y) {
    const int64_t wide_row = row * 2 * a.dim;
    for (int64_t j = first; j < a.dim; j += stride) {
      const Pack<T, W> gate = load<W>(a.gate_up + wide_row + j), up = load<W>(a.gate_up + wide_row + a.dim + j);
      const Pack<T, W> dh = load<W>(a.dh + row * a.dim + j);
      Pack<T, W> h, dgate, dup;
      for (int w = 0; w < W; ++w) {
        const float g = to_float(gate.v[w]), u = to_float(up.v[w]), d = to_float(dh.v[w]);
        const float s = sigmoid(g), silu = g * s;
        h.v[w] = from_float<T>(silu * u);
        dgate.v[w] = from_float<T>(d * u * s * (1.0f + g * (1.0f - s)));
        dup.v[w] = from_float<T>(d * silu);
      }
      store(a.h + row * a.dim + j, h);
      store(a.dgate_up + wide_row + j, dgate);
      store(a.dgate_up + wide_row + a.dim + j, dup);
    }
  }
}

LaunchConfig grid_of(int64_t num_rows, int64_t num_packs, cudaStream_t stream) {
  const unsigned threads = threads_for(num_packs, kThreads);
  const auto columns = static_cast<unsigned>(std::min(ceil_div(num_packs, threads), kMaxColumnBlocks));
  return {dim3(columns, grid_for(num_rows)), threads, 0, stream};
}

}  // namespace

template <class T>
cudaError_t launch_swiglu(const Swiglu<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0 || a.dim == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  if (allows_packs<kPack>(a.gate_up, a.dim) && allows_packs<kPack>(a.h, a.dim)) {
    return launch<swiglu_kernel<T, kPack>>(grid_of(a.num_rows, a.dim / kPack, stream), a);
  }
  return launch<swiglu_kernel<T, 1>>(grid_of(a.num_rows, a.dim, stream), a);
}

template <class T>
cudaError_t launch_swiglu_backward(const SwigluBackward<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0 || a.dim == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  const bool packs = allows_packs<kPack>(a.dh, a.dim) && allows_packs<kPack>(a.gate_up, a.dim) &&
                     allows_packs<kPack>(a.dgate_up, a.dim) && allows_packs<kPack>(a.h, a.dim);
  if (packs) return launch<swiglu_backward_kernel<T, kPack>>(grid_of(a.num_rows, a.dim / kPack, stream), a);
  return launch<swiglu_backward_kernel<T, 1>>(grid_of(a.num_rows, a.dim, stream), a);
}

template cudaError_t launch_swiglu(const Swiglu<float>&, cudaStream_t);
template cudaError_t launch_swiglu(const Swiglu<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_swiglu_backward(const SwigluBackward<float>&, cudaStream_t);
template cudaError_t launch_swiglu_backward(const SwigluBackward<__nv_bfloat16>&, cudaStream_t);

}  // namespace qtune
