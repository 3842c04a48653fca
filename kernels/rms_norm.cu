// One block walks rows; each thread owns some columns and keeps its part of a row in registers between the sum over the
// row and its use. Columns beyond those registers (rows of more than kHeld * 1024 columns) are read again.
#include "kernels/rms_norm.h"

#include "kernels/block_sum.h"
#include "kernels/column_sums.h"
#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int kHeld = 4;                 // packs a thread keeps
constexpr int64_t kRowsPerPartial = 16;  // rows a block of the backward sums at least ...
constexpr int64_t kMaxPartials = 1024;   // ... unless there would be more blocks than this

/// x, after delta was added and the sum written.
template <class T, int W>
__device__ Pack<float, W> add_delta(const AddRmsNorm<T>& a, int64_t i) {
  Pack<float, W> x = load<W>(a.x + i);
  if (a.delta == nullptr) return x;
  const Pack<T, W> delta = load<W>(a.delta + i);
  for (int w = 0; w < W; ++w) x.v[w] += to_float(delta.v[w]);
  store(a.x_out + i, x);
  return x;
}

template <class T, int W>
__device__ void write_normed(const Pack<float, W>& x, float rstd, const float* weight, T* y) {
  const Pack<float, W> scale = load<W>(weight);
  Pack<T, W> out;
  for (int w = 0; w < W; ++w) out.v[w] = from_float<T>(x.v[w] * rstd * scale.v[w]);
  store(y, out);
}

template <int W>
__device__ float sum_of_squares(const Pack<float, W>& x) {
  float sum = 0;
  for (int w = 0; w < W; ++w) sum += x.v[w] * x.v[w];
  return sum;
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) add_rms_norm_kernel(AddRmsNorm<T> a) {
  QTUNE_SHARED(float, warps, kMaxWarps);
  const int64_t start = int64_t{threadIdx.x} * W, stride = int64_t{blockDim.x} * W;
  const float* x_out = a.delta == nullptr ? a.x : a.x_out;
  for (int64_t row = blockIdx.x; row < a.num_rows; row += gridDim.x) {
    const int64_t base = row * a.dim;
    Pack<float, W> held[kHeld];
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int64_t j = start + k * stride;
      if (j >= a.dim) continue;
      held[k] = add_delta<T, W>(a, base + j);
      sum += sum_of_squares(held[k]);
    }
    for (int64_t j = start + kHeld * stride; j < a.dim; j += stride) {
      sum += sum_of_squares(add_delta<T, W>(a, base + j));
    }
    const float rstd = 1.0f / sqrtf(block_sum<float>(sum, warps) / static_cast<float>(a.dim) + a.epsilon);
    if (threadIdx.x == 0) a.rstd[row] = rstd;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int64_t j = start + k * stride;
      if (j < a.dim) write_normed<T, W>(held[k], rstd, a.weight + j, a.y + base + j);
    }
    for (int64_t j = start + kHeld * stride; j < a.dim; j += stride) {
      write_normed<T, W>(load<W>(x_out + base + j), rstd, a.weight + j, a.y + base + j);
    }
  }
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) rms_norm_again_kernel(RmsNormAgain<T> a) {
  for (int64_t row = blockIdx.x; row < a.num_rows; row += gridDim.x) {
    const float rstd = a.rstd[row];
    const int64_t base = row * a.dim;
    for (int64_t j = int64_t{threadIdx.x} * W; j < a.dim; j += int64_t{blockDim.x} * W) {
      write_normed<T, W>(load<W>(a.x + base + j), rstd, a.weight + j, a.y + base + j);
    }
  }
}

/// What the backward reads of a row.
template <class T, int W>
struct RowPart {
  Pack<T, W> dy;
  Pack<float, W> x;
};

template <class T, int W>
__device__ RowPart<T, W> load_part(const RmsNormBackward<T>& a, int64_t i) {
  return {load<W>(a.dy + i), load<W>(a.x + i)};
}

template <class T, int W>
__device__ float dot(const RowPart<T, W>& part, const float* weight) {
  const Pack<float, W> scale = load<W>(weight);
  float sum = 0;
  for (int w = 0; w < W; ++w) sum += to_float(part.dy.v[w]) * scale.v[w] * part.x.v[w];
  return sum;
}

/// dx += rstd (dy weight - x c), and what this row adds to dweight.
template <class T, int W>
__device__ Pack<float, W> add_gradient(const RowPart<T, W>& part, float rstd, float c, const float* weight, float* dx) {
  const Pack<float, W> scale = load<W>(weight);
  Pack<float, W> out = load<W>(dx), dweight;
  for (int w = 0; w < W; ++w) {
    const float g = to_float(part.dy.v[w]), x = part.x.v[w];
    out.v[w] += rstd * (g * scale.v[w] - x * c);
    dweight.v[w] = g * x * rstd;
  }
  store(dx, out);
  return dweight;
}

template <int W>
__device__ void add_to(Pack<float, W>& sum, const Pack<float, W>& addend) {
  for (int w = 0; w < W; ++w) sum.v[w] += addend.v[w];
}

/// Each block leaves the sums of its rows in its row of the workspace.
template <class T, int W>
__global__ void __launch_bounds__(kThreads) rms_norm_backward_kernel(RmsNormBackward<T> a) {
  QTUNE_SHARED(float, warps, kMaxWarps);
  const int64_t start = int64_t{threadIdx.x} * W, stride = int64_t{blockDim.x} * W, rest = start + kHeld * stride;
  const bool trains_weight = a.workspace != nullptr;
  float* sums = a.workspace + (trains_weight ? blockIdx.x * a.dim : 0);
  Pack<float, W> held_sums[kHeld] = {};
  if (trains_weight) {
    for (int64_t j = rest; j < a.dim; j += stride) store(sums + j, Pack<float, W>{});
  }
  for (int64_t row = blockIdx.x; row < a.num_rows; row += gridDim.x) {
    const int64_t base = row * a.dim;
    RowPart<T, W> held[kHeld];
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int64_t j = start + k * stride;
      if (j >= a.dim) continue;
      held[k] = load_part<T, W>(a, base + j);
      sum += dot(held[k], a.weight + j);
    }
    for (int64_t j = rest; j < a.dim; j += stride) sum += dot(load_part<T, W>(a, base + j), a.weight + j);
    const float rstd = a.rstd[row];
    const float c = block_sum<float>(sum, warps) * rstd * rstd / static_cast<float>(a.dim);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const int64_t j = start + k * stride;
      if (j < a.dim) add_to(held_sums[k], add_gradient(held[k], rstd, c, a.weight + j, a.dx + base + j));
    }
    for (int64_t j = rest; j < a.dim; j += stride) {
      const auto dweight = add_gradient(load_part<T, W>(a, base + j), rstd, c, a.weight + j, a.dx + base + j);
      if (!trains_weight) continue;
      Pack<float, W> total = load<W>(sums + j);
      add_to(total, dweight);
      store(sums + j, total);
    }
  }
  if (!trains_weight) return;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const int64_t j = start + k * stride;
    if (j < a.dim) store(sums + j, held_sums[k]);
  }
}

int64_t num_partials(int64_t num_rows) {
  return std::clamp(ceil_div(num_rows, kRowsPerPartial), int64_t{1}, kMaxPartials);
}

template <class T, int W>
LaunchConfig row_blocks(int64_t num_blocks, int64_t dim, cudaStream_t stream) {
  return {grid_for(num_blocks), threads_for(ceil_div(dim, W), kThreads), 0, stream};
}

}  // namespace

template <class T>
cudaError_t launch_add_rms_norm(const AddRmsNorm<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0) return cudaSuccess;
  const bool packs = allows_packs<4>(a.x, a.dim) && allows_packs<4>(a.delta, a.dim) &&
                     allows_packs<4>(a.x_out, a.dim) && allows_packs<4>(a.weight, a.dim) && allows_packs<4>(a.y, a.dim);
  if (packs) return launch<add_rms_norm_kernel<T, 4>>(row_blocks<T, 4>(a.num_rows, a.dim, stream), a);
  return launch<add_rms_norm_kernel<T, 1>>(row_blocks<T, 1>(a.num_rows, a.dim, stream), a);
}

template <class T>
cudaError_t launch_rms_norm_again(const RmsNormAgain<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0) return cudaSuccess;
  const bool packs = allows_packs<4>(a.x, a.dim) && allows_packs<4>(a.weight, a.dim) && allows_packs<4>(a.y, a.dim);
  if (packs) return launch<rms_norm_again_kernel<T, 4>>(row_blocks<T, 4>(a.num_rows, a.dim, stream), a);
  return launch<rms_norm_again_kernel<T, 1>>(row_blocks<T, 1>(a.num_rows, a.dim, stream), a);
}

template <class T>
cudaError_t launch_rms_norm_backward(const RmsNormBackward<T>& a, cudaStream_t stream) {
  if (a.num_rows == 0) return cudaSuccess;
  const bool packs = allows_packs<4>(a.dy, a.dim) && allows_packs<4>(a.x, a.dim) && allows_packs<4>(a.weight, a.dim) &&
                     allows_packs<4>(a.dx, a.dim) && allows_packs<4>(a.workspace, a.dim);
  const int64_t blocks = num_partials(a.num_rows);
  const cudaError_t error = packs ? launch<rms_norm_backward_kernel<T, 4>>(row_blocks<T, 4>(blocks, a.dim, stream), a)
                                  : launch<rms_norm_backward_kernel<T, 1>>(row_blocks<T, 1>(blocks, a.dim, stream), a);
  if (error != cudaSuccess || a.workspace == nullptr) return error;
  return launch_add_partial_sums({a.workspace, blocks, a.dim, a.dim}, a.dweight, stream);
}

int64_t rms_norm_backward_workspace(int64_t num_rows, int64_t dim) { return num_partials(num_rows) * dim; }

template cudaError_t launch_add_rms_norm(const AddRmsNorm<float>&, cudaStream_t);
template cudaError_t launch_add_rms_norm(const AddRmsNorm<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_rms_norm_again(const RmsNormAgain<float>&, cudaStream_t);
template cudaError_t launch_rms_norm_again(const RmsNormAgain<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_rms_norm_backward(const RmsNormBackward<float>&, cudaStream_t);
template cudaError_t launch_rms_norm_backward(const RmsNormBackward<__nv_bfloat16>&, cudaStream_t);

}  // namespace qtune
