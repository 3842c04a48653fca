// A head is the work of a group of lanes of one warp, as many as it has 16-byte packs (a power of two, at most 32): a
// warp of 32 lanes takes four heads of 64 bfloat16 at once.
#include "kernels/head_norm.h"

#include "kernels/block_sum.h"
#include "kernels/column_sums.h"
#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWarpsPerBlock = kThreads / kWarpSize;
constexpr int64_t kMaxBlocks = 2048;      // of the forward: more than any GPU runs at once
constexpr int64_t kHeadsPerPartial = 16;  // heads a warp of the backward sums at least ...
constexpr int64_t kMaxPartials = 2048;    // ... unless there would be more warps than this

/// Elements of a head that a lane holds: packs of W, a warp's width apart.
template <int W>
constexpr int kHeldPacks = static_cast<int>(kMaxHeadDim) / (kWarpSize * W);

/// Where a head lies. Heads are counted row by row, q heads before k heads.
struct Head {
  bool exists, is_query;
  int64_t in_qkv, in_raw, number;
};

__device__ Head find_head(const HeadShape& s, int64_t number) {
  const int64_t heads = s.num_heads + s.num_kv_heads, row = number / heads, h = number - row * heads;
  const int64_t width = (s.num_heads + 2 * s.num_kv_heads) * s.head_dim;
  return {number < s.num_rows * heads, h < s.num_heads, row * width + h * s.head_dim, number * s.head_dim, number};
}

/// Which heads a lane works on: all with number = first + i * stride.
struct Lane {
  int64_t first, stride;
  int64_t begin;  // its first element of a head
  int64_t step;   // from pack to pack
};

template <int W>
__device__ Lane this_lane(int group) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t warp = blockIdx.x * kWarpsPerBlock + threadIdx.x / kWarpSize, groups = kWarpSize / group;
  return {warp * groups + lane / group, gridDim.x * kWarpsPerBlock * groups, int64_t{lane % group} * W,
          int64_t{group} * W};
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) head_norm_kernel(HeadNorm<T> a, int group) {
  const Lane lane = this_lane<W>(group);
  const HeadShape& s = a.shape;
  const int64_t num_heads = s.num_rows * (s.num_heads + s.num_kv_heads);
  // The loop goes by warps: all lanes meet in warp_sum.
  for (int64_t first = lane.first; first - lane.first % (kWarpSize / group) < num_heads; first += lane.stride) {
    const Head head = find_head(s, first);
    Pack<T, W> held[kHeldPacks<W>];
    float sum = 0;
#pragma unroll
    for (int k = 0; k < kHeldPacks<W>; ++k) {
      const int64_t j = lane.begin + k * lane.step;
      if (!head.exists || j >= s.head_dim) continue;
      held[k] = load<W>(a.qkv + head.in_qkv + j);
      store(a.raw + head.in_raw + j, held[k]);
      for (int w = 0; w < W; ++w) sum += to_float(held[k].v[w]) * to_float(held[k].v[w]);
    }
    const float rstd = 1.0f / sqrtf(warp_sum(sum, group) / static_cast<float>(s.head_dim) + a.epsilon);
    if (head.exists && lane.begin == 0) a.rstd[head.number] = rstd;
    const float* weight = head.is_query ? a.query_weight : a.key_weight;
#pragma unroll
    for (int k = 0; k < kHeldPacks<W>; ++k) {
      const int64_t j = lane.begin + k * lane.step;
      if (!head.exists || j >= s.head_dim) continue;
      for (int w = 0; w < W; ++w) held[k].v[w] = from_float<T>(to_float(held[k].v[w]) * rstd * weight[j + w]);
      store(a.qkv + head.in_qkv + j, held[k]);
    }
  }
}

/// Gradients of the q and the k weight that one lane has summed.
template <int W>
struct WeightSums {
  float query[kHeldPacks<W> * W], key[kHeldPacks<W> * W];
};

/// Adds over the groups of the warp and leaves the result in the warp's row of the workspace: E of query, E of key.
template <int W>
__device__ void write_sums(WeightSums<W>& sums, const Lane& lane, int group, int64_t head_dim, float* row) {
#pragma unroll
  for (int i = 0; i < kHeldPacks<W> * W; ++i) {
    for (int offset = group; offset < kWarpSize; offset *= 2) {
      sums.query[i] += __shfl_xor_sync(kFullWarp, sums.query[i], offset);
      sums.key[i] += __shfl_xor_sync(kFullWarp, sums.key[i], offset);
    }
    const int64_t j = lane.begin + i / W * lane.step + i % W;
    if (static_cast<int>(threadIdx.x) % kWarpSize >= group || j >= head_dim) continue;
    row[j] = sums.query[i];
    row[head_dim + j] = sums.key[i];
  }
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads) head_norm_backward_kernel(HeadNormBackward<T> a, int group) {
  const Lane lane = this_lane<W>(group);
  const HeadShape& s = a.shape;
  const int64_t num_heads = s.num_rows * (s.num_heads + s.num_kv_heads);
  WeightSums<W> sums = {};
  for (int64_t first = lane.first; first - lane.first % (kWarpSize / group) < num_heads; first += lane.stride) {
    const Head head = find_head(s, first);
    const float* weight = head.is_query ? a.query_weight : a.key_weight;
    Pack<T, W> dy[kHeldPacks<W>], x[kHeldPacks<W>];
    float dot = 0;
#pragma unroll
    for (int k = 0; k < kHeldPacks<W>; ++k) {
      const int64_t j = lane.begin + k * lane.step;
      if (!head.exists || j >= s.head_dim) continue;
      dy[k] = load<W>(a.dqkv + head.in_qkv + j);
      x[k] = load<W>(a.raw + head.in_raw + j);
      for (int w = 0; w < W; ++w) dot += to_float(dy[k].v[w]) * weight[j + w] * to_float(x[k].v[w]);
    }
    const float rstd = head.exists ? a.rstd[head.number] : 0.0f;
    const float c = warp_sum(dot, group) * rstd * rstd / static_cast<float>(s.head_dim);
#pragma unroll
    for (int k = 0; k < kHeldPacks<W>; ++k) {
      const int64_t j = lane.begin + k * lane.step;
      if (!head.exists || j >= s.head_dim) continue;
      for (int w = 0; w < W; ++w) {
        const float g = to_float(dy[k].v[w]), xw = to_float(x[k].v[w]), dweight = g * xw * rstd;
        sums.query[k * W + w] += head.is_query ? dweight : 0.0f;
        sums.key[k * W + w] += head.is_query ? 0.0f : dweight;
        dy[k].v[w] = from_float<T>(rstd * (g * weight[j + w] - xw * c));
      }
      store(a.dqkv + head.in_qkv + j, dy[k]);
    }
  }
  if (a.workspace == nullptr) return;
  const int64_t warp = blockIdx.x * kWarpsPerBlock + threadIdx.x / kWarpSize;
  write_sums<W>(sums, lane, group, s.head_dim, a.workspace + warp * 2 * s.head_dim);
}

int64_t num_heads(const HeadShape& s) { return s.num_rows * (s.num_heads + s.num_kv_heads); }

/// Blocks of the backward: all their warps write partial sums, also those without a head.
int64_t num_backward_blocks(const HeadShape& s) {
  return ceil_div(std::clamp(ceil_div(num_heads(s), kHeadsPerPartial), int64_t{1}, kMaxPartials), kWarpsPerBlock);
}

/// Lanes a head: as many as it has packs, rounded up to a power of two.
int group_lanes(int64_t head_dim, int64_t pack) {
  int lanes = 1;
  while (lanes < kWarpSize && lanes * pack < head_dim) lanes *= 2;
  return lanes;
}

bool is_allowed(const HeadShape& s) { return s.head_dim >= 1 && s.head_dim <= kMaxHeadDim; }

}  // namespace

template <class T>
cudaError_t launch_head_norm(const HeadNorm<T>& a, cudaStream_t stream) {
  if (!is_allowed(a.shape)) return cudaErrorInvalidValue;
  if (num_heads(a.shape) == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  const auto config = [&](int group) {
    const int64_t blocks = ceil_div(num_heads(a.shape), kWarpsPerBlock * kWarpSize / group);
    return LaunchConfig{grid_for(std::min(blocks, kMaxBlocks)), kThreads, 0, stream};
  };
  const int64_t dim = a.shape.head_dim;
  const int wide = group_lanes(dim, kPack), narrow = group_lanes(dim, 1);
  if (allows_packs<kPack>(a.qkv, dim) && allows_packs<kPack>(a.raw, dim)) {
    return launch<head_norm_kernel<T, kPack>>(config(wide), a, wide);
  }
  return launch<head_norm_kernel<T, 1>>(config(narrow), a, narrow);
}

template <class T>
cudaError_t launch_head_norm_backward(const HeadNormBackward<T>& a, cudaStream_t stream) {
  if (!is_allowed(a.shape)) return cudaErrorInvalidValue;
  if (num_heads(a.shape) == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  const int64_t dim = a.shape.head_dim, blocks = num_backward_blocks(a.shape);
  const LaunchConfig config{grid_for(blocks), kThreads, 0, stream};
  const bool packs = allows_packs<kPack>(a.dqkv, dim) && allows_packs<kPack>(a.raw, dim);
  const cudaError_t error = packs ? launch<head_norm_backward_kernel<T, kPack>>(config, a, group_lanes(dim, kPack))
                                  : launch<head_norm_backward_kernel<T, 1>>(config, a, group_lanes(dim, 1));
  if (error != cudaSuccess || a.workspace == nullptr) return error;
  PartialSums sums{a.workspace, blocks * kWarpsPerBlock, 2 * dim, dim};
  const cudaError_t query_error = launch_add_partial_sums(sums, a.dquery_weight, stream);
  if (query_error != cudaSuccess) return query_error;
  sums.partials += dim;
  return launch_add_partial_sums(sums, a.dkey_weight, stream);
}

int64_t head_norm_backward_workspace(const HeadShape& shape) {
  return num_backward_blocks(shape) * kWarpsPerBlock * 2 * shape.head_dim;
}

template cudaError_t launch_head_norm(const HeadNorm<float>&, cudaStream_t);
template cudaError_t launch_head_norm(const HeadNorm<__nv_bfloat16>&, cudaStream_t);
template cudaError_t launch_head_norm_backward(const HeadNormBackward<float>&, cudaStream_t);
template cudaError_t launch_head_norm_backward(const HeadNormBackward<__nv_bfloat16>&, cudaStream_t);

}  // namespace qtune
