// Both launches walk chunks of tensors. The sum of squares leaves a fixed number of partial sums; each block of the
// update adds them anew, all in the same order, so that no third launch and no host has to.
#include "kernels/adamw.h"

#include <cmath>

#include "kernels/block_sum.h"
#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int kPack = 4;
constexpr int64_t kUpdateBlocks = 1024;  // more chunks are walked by a stride

struct ChunkRange {
  int64_t begin, size;
};

__device__ ChunkRange range_of(const AdamWTensorView& tensor, const AdamWChunk& chunk) {
  const int64_t rest = tensor.size - chunk.begin;
  return {chunk.begin, rest < kAdamWChunkSize ? rest : kAdamWChunkSize};
}

__device__ bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

__device__ double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

/// Each thread adds its elements of the chunk in the same order whether they are loaded one by one or as packs.
__device__ double add_squares(const float* x, int64_t size, double sum) {
  const bool packs = is_aligned(x);
  const int64_t num_packs = size / kPack;
  for (int64_t i = threadIdx.x; i < num_packs; i += kThreads) {
    Pack<float, kPack> pack;
    if (packs) {
      pack = load<kPack>(x + i * kPack);
    } else {
      for (int w = 0; w < kPack; ++w) pack.v[w] = x[i * kPack + w];
    }
    for (int w = 0; w < kPack; ++w) sum += square(pack.v[w]);
  }
  for (int64_t i = num_packs * kPack + threadIdx.x; i < size; i += kThreads) sum += square(x[i]);
  return sum;
}

__global__ void __launch_bounds__(kThreads) sum_of_squares_kernel(AdamWModel model, double* partials) {
  QTUNE_SHARED(double, warps, kMaxWarps);
  double sum = 0;
  for (int64_t c = blockIdx.x; c < model.num_chunks; c += gridDim.x) {
    const AdamWChunk chunk = model.chunks[c];
    const AdamWTensorView tensor = model.tensors[chunk.tensor];
    const ChunkRange range = range_of(tensor, chunk);
    sum = add_squares(tensor.gradient + range.begin, range.size, sum);
  }
  sum = block_sum<double>(sum, warps);
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
  if (blockIdx.x > 0) return;
  for (int64_t i = gridDim.x + threadIdx.x; i < kNumNormPartials; i += kThreads) partials[i] = 0;  // of few chunks
}

/// What the host knows of the update, in the precision that src/ops/adamw.cpp takes it to.
struct Constants {
  double learning_rate, gradient_scale, max_norm;
  float step_size, root_correction, beta1, beta2, rest1, rest2, epsilon;
  const double* partials;
  double* norm;
};

Constants constants_of(const AdamWUpdate& u) {
  const double correction1 = 1 - std::pow(u.beta1, static_cast<double>(u.step));
  const double correction2 = 1 - std::pow(u.beta2, static_cast<double>(u.step));
  return {u.learning_rate,
          u.gradient_scale,
          u.max_norm,
          static_cast<float>(u.learning_rate / correction1),
          static_cast<float>(std::sqrt(correction2)),
          static_cast<float>(u.beta1),
          static_cast<float>(u.beta2),
          static_cast<float>(1 - u.beta1),
          static_cast<float>(1 - u.beta2),
          static_cast<float>(u.epsilon),
          u.partials,
          u.norm};
}

__device__ double global_norm(const double* partials, SharedPtr<double> warps) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < kNumNormPartials; i += kThreads) sum += partials[i];
  return sqrt(block_sum<double>(sum, warps));
}

__device__ double clip_factor(double norm, double max_norm) {
  if (max_norm <= 0) return 1.0;
  const double factor = max_norm / (norm + 1e-6);
  return factor < 1.0 ? factor : 1.0;
}

/// Factors that hold for one tensor.
struct Factors {
  float keep, scale;
};

__device__ void update_element(const Constants& c, Factors f, float gradient, float& value, float& m, float& v) {
  const float g = gradient * f.scale;
  m = c.beta1 * m + c.rest1 * g;
  v = c.beta2 * v + c.rest2 * g * g;
  value = value * f.keep - c.step_size * m / (sqrtf(v) / c.root_correction + c.epsilon);
}

template <int W>
__device__ void update_pack(const AdamWTensorView& t, const Constants& c, Factors f, int64_t i) {
  const Pack<float, W> gradient = load<W>(t.gradient + i);
  Pack<float, W> value = load<W>(t.value + i), m = load<W>(t.exp_avg + i), v = load<W>(t.exp_avg_sq + i);
  Pack<__nv_bfloat16, W> compute;
  for (int w = 0; w < W; ++w) {
    update_element(c, f, gradient.v[w], value.v[w], m.v[w], v.v[w]);
    compute.v[w] = from_float<__nv_bfloat16>(value.v[w]);
  }
  store(t.value + i, value);
  store(t.exp_avg + i, m);
  store(t.exp_avg_sq + i, v);
  if (t.compute != nullptr) store(t.compute + i, compute);
}

/// Chunks begin at multiples of 16 bytes of their tensor, so its first element decides.
__device__ bool allows_packs(const AdamWTensorView& t) {
  return is_aligned(t.value) && is_aligned(t.gradient) && is_aligned(t.exp_avg) && is_aligned(t.exp_avg_sq) &&
         reinterpret_cast<uintptr_t>(t.compute) % 8 == 0;
}

__device__ void update_range(const AdamWTensorView& t, const Constants& c, Factors f, ChunkRange range) {
  const int64_t num_packs = allows_packs(t) ? range.size / kPack : 0, end = range.begin + range.size;
  for (int64_t i = threadIdx.x; i < num_packs; i += kThreads) update_pack<kPack>(t, c, f, range.begin + i * kPack);
  for (int64_t i = range.begin + num_packs * kPack + threadIdx.x; i < end; i += kThreads) update_pack<1>(t, c, f, i);
}

__global__ void __launch_bounds__(kThreads) adamw_kernel(AdamWModel model, Constants c) {
  QTUNE_SHARED(double, warps, kMaxWarps);
  const double norm = global_norm(c.partials, warps) * c.gradient_scale;
  if (blockIdx.x == 0 && threadIdx.x == 0) *c.norm = norm;
  if (!std::isfinite(norm)) return;
  const auto scale = static_cast<float>(c.gradient_scale * clip_factor(norm, c.max_norm));
  for (int64_t i = blockIdx.x; i < model.num_chunks; i += gridDim.x) {
    const AdamWChunk chunk = model.chunks[i];
    const AdamWTensorView tensor = model.tensors[chunk.tensor];
    const auto keep = static_cast<float>(1 - c.learning_rate * tensor.weight_decay);
    update_range(tensor, c, {keep, scale}, range_of(tensor, chunk));
  }
}

}  // namespace

cudaError_t launch_sum_of_squares(const AdamWModel& model, double* partials, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(std::clamp(model.num_chunks, int64_t{1}, kNumNormPartials));
  return launch<sum_of_squares_kernel>({blocks, kThreads, 0, stream}, model, partials);
}

cudaError_t launch_adamw(const AdamWModel& model, const AdamWUpdate& update, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>(std::clamp(model.num_chunks, int64_t{1}, kUpdateBlocks));
  return launch<adamw_kernel>({blocks, kThreads, 0, stream}, model, constants_of(update));
}

}  // namespace qtune
