// Flat maps: each op works on W elements from place i on; one kernel walks all of them, the last few one by one.
#include "kernels/elementwise.h"

#include "kernels/column_sums.h"
#include "kernels/counter_rng.h"
#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = 8;
constexpr int64_t kMaxMapBlocks = 2048;  // more than any GPU runs at once; the rest is walked by a stride

template <class From, class To>
struct ConvertOp {
  const From* from;
  To* to;

  template <int W>
  __device__ void apply(int64_t i) const {
    const Pack<From, W> in = load<W>(from + i);
    Pack<To, W> out;
    for (int w = 0; w < W; ++w) out.v[w] = from_float<To>(to_float(in.v[w]));
    store(to + i, out);
  }
  bool allows_packs() const { return qtune::allows_packs<kPack>(from, 0) && qtune::allows_packs<kPack>(to, 0); }
};

template <class T>
struct AccumulateOp {
  const T* addend;
  float* sum;

  template <int W>
  __device__ void apply(int64_t i) const {
    const Pack<T, W> in = load<W>(addend + i);
    Pack<float, W> out = load<W>(sum + i);
    for (int w = 0; w < W; ++w) out.v[w] += to_float(in.v[w]);
    store(sum + i, out);
  }
  bool allows_packs() const { return qtune::allows_packs<kPack>(addend, 0) && qtune::allows_packs<kPack>(sum, 0); }
};

/// One draw of 64 bits serves two elements: the low half the even, the high half the odd one.
template <class T>
struct DropoutOp {
  const T* x;
  T* y;
  uint64_t key;
  uint32_t limit;  // draws below it drop
  float factor;

  template <int W>
  __device__ void apply(int64_t i) const {
    Pack<T, W> pack = load<W>(x + i);
    uint64_t draw = 0;
    for (int w = 0; w < W; ++w) {
      const auto place = static_cast<uint64_t>(i) + w;
      if (w == 0 || place % 2 == 0) draw = counter_value(key, place / 2);
      const auto half = static_cast<uint32_t>(place % 2 == 0 ? draw : draw >> 32);
      pack.v[w] = from_float<T>(half < limit ? 0.0f : to_float(pack.v[w]) * factor);
    }
    store(y + i, pack);
  }
  bool allows_packs() const { return qtune::allows_packs<kPack>(x, 0) && qtune::allows_packs<kPack>(y, 0); }
};

template <int W, class Op>
__global__ void __launch_bounds__(kThreads) map_kernel(Op op, int64_t size) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, stride = int64_t{gridDim.x} * blockDim.x;
  const int64_t num_packs = size / W;
  for (int64_t i = first; i < num_packs; i += stride) op.template apply<W>(i * W);
  for (int64_t i = num_packs * W + first; i < size; i += stride) op.template apply<1>(i);
}

template <class Op>
cudaError_t map(const Op& op, int64_t size, cudaStream_t stream) {
  if (size == 0) return cudaSuccess;
  const auto config = [&](int64_t num_items) {
    return LaunchConfig{grid_for(std::min(ceil_div(num_items, kThreads), kMaxMapBlocks)), kThreads, 0, stream};
  };
  if (op.allows_packs()) return launch<map_kernel<kPack, Op>>(config(ceil_div(size, kPack)), op, size);
  return launch<map_kernel<1, Op>>(config(size), op, size);
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) add_bias_kernel(AddBias<T> a) {
  for (int64_t row = blockIdx.x; row < a.num_rows; row += gridDim.x) {
    for (int64_t j = int64_t{threadIdx.x} * W; j < a.dim; j += int64_t{blockDim.x} * W) {
      T* y = a.y + row * a.dim + j;
      Pack<T, W> pack = load<W>(y);
      const Pack<float, W> bias = load<W>(a.bias + j);
      for (int w = 0; w < W; ++w) pack.v[w] = from_float<T>(to_float(pack.v[w]) + bias.v[w]);
      store(y, pack);
    }
  }
}

// The bias gradient's rows are split into equal stretches, the same for any GPU.
constexpr int64_t kRowsPerPartial = 32, kMaxPartials = 512;
constexpr int kBiasPack = 4;

int64_t num_partials(int64_t num_rows) {
  return std::clamp(ceil_div(num_rows, kRowsPerPartial), int64_t{1}, kMaxPartials);
}

/// blockIdx.y's stretch of rows, summed to its row of the workspace.
template <class T, int W>
__global__ void __launch_bounds__(kThreads) bias_gradient_kernel(BiasGradient<T> a, int64_t rows_a_block) {
  const int64_t begin = blockIdx.y * rows_a_block;
  const int64_t end = begin + rows_a_block < a.num_rows ? begin + rows_a_block : a.num_rows;
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * W;
  for (int64_t j = first; j < a.dim; j += int64_t{gridDim.x} * blockDim.x * W) {
    Pack<float, W> sum = {};
#pragma unroll 8
    for (int64_t row = begin; row < end; ++row) {
      const Pack<T, W> dy = load<W>(a.dy + row * a.dim + j);
      for (int w = 0; w < W; ++w) sum.v[w] += to_float(dy.v[w]);
    }
    store(a.workspace + blockIdx.y * a.dim + j, sum);
  }
}

}  // namespace

cudaError_t launch_convert(const float* from, __nv_bfloat16* to, int64_t size, cudaStream_t stream) {
  return map(ConvertOp<float, __nv_bfloat16>{from, to}, size, stream);
}

cudaError_t launch_convert(const __nv_bfloat16* from, float* to, int64_t size, cudaStream_t stream) {
  return map(ConvertOp<__nv_bfloat16, float>{from, to}, size, stream);
}

template <class T>
cudaError_t launch_accumulate(const T* addend, float* sum, int64_t size, cudaStream_t stream) {
  return map(AccumulateOp<T>{addend, sum}, size, stream);
}

template <class T>
cudaError_t launch_dropout(const Dropout<T>& a, cudaStream_t stream) {
  const auto limit = static_cast<uint32_t>(std::clamp(a.probability, 0.0, 1.0 - 0x1p-32) * 0x1p32);
  const auto factor = static_cast<float>(1.0 / (1.0 - a.probability));
  return map(DropoutOp<T>{a.x, a.y, counter_key(a.seed, a.stream), limit, factor}, a.size, stream);
}

template <class T>
cudaError_t launch_add_bias(const AddBias<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0 || a.dim == 0) return cudaSuccess;
  const auto config = [&](int64_t pack) {
    return LaunchConfig{grid_for(a.num_rows), threads_for(a.dim / pack, kThreads), 0, stream};
  };
  const bool packs = allows_packs<kPack>(a.y, a.dim) && allows_packs<kPack>(a.bias, a.dim);
  return packs ? launch<add_bias_kernel<T, kPack>>(config(kPack), a) : launch<add_bias_kernel<T, 1>>(config(1), a);
}

template <class T>
cudaError_t launch_bias_gradient(const BiasGradient<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0 || a.dim == 0) return cudaSuccess;
  const bool packs = allows_packs<kBiasPack>(a.dy, a.dim) && allows_packs<kBiasPack>(a.workspace, a.dim);
  const int64_t partials = num_partials(a.num_rows), num_packs = packs ? a.dim / kBiasPack : a.dim;
  const unsigned threads = threads_for(num_packs, 64);  // few columns: many small blocks
  const LaunchConfig config{dim3(grid_for(ceil_div(num_packs, threads)), static_cast<unsigned>(partials)), threads, 0,
                            stream};
  const int64_t rows = ceil_div(a.num_rows, partials);
  const cudaError_t error = packs ? launch<bias_gradient_kernel<T, kBiasPack>>(config, a, rows)
                                  : launch<bias_gradient_kernel<T, 1>>(config, a, rows);
  if (error != cudaSuccess) return error;
  return launch_add_partial_sums({a.workspace, partials, a.dim, a.dim}, a.dbias, stream);
}

int64_t bias_gradient_workspace(int64_t num_rows, int64_t dim) { return num_partials(num_rows) * dim; }

template cudaError_t launch_accumulate(const float*, float*, int64_t, cudaStream_t);
template cudaError_t launch_accumulate(const __nv_bfloat16*, float*, int64_t, cudaStream_t);
template cudaError_t launch_dropout(const Dropout<float>&, cudaStream_t);
template cudaError_t launch_dropout(const Dropout<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_add_bias(const AddBias<float>&, cudaStream_t);
template cudaError_t launch_add_bias(const AddBias<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_bias_gradient(const BiasGradient<float>&, cudaStream_t);
template cudaError_t launch_bias_gradient(const BiasGradient<__nv_bfloat16>&, cudaStream_t);

}  // namespace qtune
