#include "qtune/ops/head_norm.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "checks.h"
#include "qtune/ops/device_ops.h"
#include "vector_math.h"

namespace qtune {
namespace {

constexpr int64_t kRowGrain = 16;

struct HeadLayout {
  int64_t n, width, num_q, num_normed, e;  // rows, X, H, H + K, E
};

HeadLayout check_arguments(const char* op, const at::Tensor& qkv, const at::Tensor& raw, const at::Tensor& rstd,
                           const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads) {
  const HeadLayout layout{.n = qkv.size(0),
                          .width = qkv.size(1),
                          .num_q = num_heads,
                          .num_normed = num_heads + num_kv_heads,
                          .e = weights.query_E.size(0)};
  check_shape(op, "qkv", qkv, {layout.n, (num_heads + 2 * num_kv_heads) * layout.e});
  check_shape(op, "raw", raw, {layout.n, layout.num_normed * layout.e});
  check_shape(op, "rstd", rstd, {layout.n, layout.num_normed});
  check_shape(op, "key weight", weights.key_E, {layout.e});
  check_dtype(op, "query weight", weights.query_E, at::kFloat);
  check_dtype(op, "key weight", weights.key_E, at::kFloat);
  return layout;
}

}  // namespace

void head_rms_norm(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                   double epsilon, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ) {
  const HeadLayout l = check_arguments("head_rms_norm", qkv_NX, raw_NY, rstd_NZ, weights, num_heads, num_kv_heads);
  if (const DeviceOps* device = device_ops(qkv_NX)) {
    return device->head_rms_norm(qkv_NX, weights, num_heads, num_kv_heads, epsilon, raw_NY, rstd_NZ);
  }
  dispatch_compute_dtype("head_rms_norm", qkv_NX, [&](auto element) {
    using T = decltype(element);
    T *qkv = qkv_NX.data_ptr<T>(), *raw = raw_NY.data_ptr<T>();
    float* rstd = rstd_NZ.data_ptr<float>();
    const float *wq = weights.query_E.data_ptr<float>(), *wk = weights.key_E.data_ptr<float>();
    at::parallel_for(0, l.n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t h = 0; h < l.num_normed; ++h) {
          T* x = qkv + i * l.width + h * l.e;
          std::copy_n(x, l.e, raw + (i * l.num_normed + h) * l.e);
          const float* w = h < l.num_q ? wq : wk;
          float sum = 0;
#pragma omp simd reduction(+ : sum)
          for (int64_t j = 0; j < l.e; ++j) sum += to_float(x[j]) * to_float(x[j]);
          const float r = 1.0f / std::sqrt(sum / static_cast<float>(l.e) + static_cast<float>(epsilon));
          rstd[i * l.num_normed + h] = r;
#pragma omp simd
          for (int64_t j = 0; j < l.e; ++j) x[j] = from_float<T>(to_float(x[j]) * r * w[j]);
        }
      }
    });
  });
}

void head_rms_norm_backward(const at::Tensor& dqkv_NX, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ,
                            const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                            const HeadNormWeights& dweights) {
  const HeadLayout l =
      check_arguments("head_rms_norm_backward", dqkv_NX, raw_NY, rstd_NZ, weights, num_heads, num_kv_heads);
  const bool with_weights = dweights.query_E.defined();
  if (with_weights) {
    check_shape("head_rms_norm_backward", "query gradient", dweights.query_E, {l.e});
    check_shape("head_rms_norm_backward", "key gradient", dweights.key_E, {l.e});
  }
  if (const DeviceOps* device = device_ops(dqkv_NX)) {
    return device->head_rms_norm_backward(dqkv_NX, raw_NY, rstd_NZ, weights, num_heads, num_kv_heads, dweights);
  }
  // Partial sums per fixed block of rows, added in order: the result does not depend on how threads share the blocks.
  constexpr int64_t kBlock = 128;
  const int64_t num_blocks = (l.n + kBlock - 1) / kBlock;
  std::vector<float> partial(static_cast<size_t>(num_blocks * 2 * l.e), 0.0f);
  dispatch_compute_dtype("head_rms_norm_backward", dqkv_NX, [&](auto element) {
    using T = decltype(element);
    T* dqkv = dqkv_NX.data_ptr<T>();
    const T* raw = raw_NY.data_ptr<T>();
    const float *rstd = rstd_NZ.data_ptr<float>(), *wq = weights.query_E.data_ptr<float>(),
                *wk = weights.key_E.data_ptr<float>();
    at::parallel_for(0, num_blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first * kBlock; i < std::min(l.n, last * kBlock); ++i) {
        for (int64_t h = 0; h < l.num_normed; ++h) {
          const bool is_query = h < l.num_q;
          const float *w = is_query ? wq : wk, r = rstd[i * l.num_normed + h];
          float* sums = partial.data() + (i / kBlock * 2 + (is_query ? 0 : 1)) * l.e;
          T* g = dqkv + i * l.width + h * l.e;
          const T* x = raw + (i * l.num_normed + h) * l.e;
          float dot = 0;
#pragma omp simd reduction(+ : dot)
          for (int64_t j = 0; j < l.e; ++j) dot += to_float(g[j]) * w[j] * to_float(x[j]);
          const float c = dot * r * r / static_cast<float>(l.e);
#pragma omp simd
          for (int64_t j = 0; j < l.e; ++j) {
            const float gj = to_float(g[j]), xj = to_float(x[j]);
            sums[j] += gj * xj * r;
            g[j] = from_float<T>(r * (gj * w[j] - xj * c));
          }
        }
      }
    });
  });
  if (!with_weights) return;
  float *dq = dweights.query_E.data_ptr<float>(), *dk = dweights.key_E.data_ptr<float>();
  for (int64_t b = 0; b < num_blocks; ++b) {
    const float* sums = partial.data() + b * 2 * l.e;
    for (int64_t j = 0; j < l.e; ++j) {
      dq[j] += sums[j];
      dk[j] += sums[l.e + j];
    }
  }
}

}  // namespace qtune
