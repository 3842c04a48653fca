// Four weight rows against four rows of x at a time, sums in registers: each weight comes from memory once, and every
// pair of loads serves two products or more.
#include "linear_few_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>

#include "checks.h"

namespace qtune {
namespace {

constexpr int64_t kLanes = 16, kBlock = 4;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));

inline Floats load(const float* p) {
  Floats v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline float sum_of(const Floats& v) {
  float sum = 0;
  for (int64_t i = 0; i < kLanes; ++i) sum += v[i];
  return sum;
}

/// y[r][c] of R rows of x and C of the weight.
template <int64_t R, int64_t C>
void block(const float* x, const float* weight, int64_t num_inputs, float* y, int64_t y_stride) {
  Floats sums[R][C] = {};
  int64_t i = 0;
  for (; i + kLanes <= num_inputs; i += kLanes) {
    Floats w[C];
    for (int64_t c = 0; c < C; ++c) w[c] = load(weight + c * num_inputs + i);
    for (int64_t r = 0; r < R; ++r) {
      const Floats a = load(x + r * num_inputs + i);
      for (int64_t c = 0; c < C; ++c) sums[r][c] += a * w[c];
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t c = 0; c < C; ++c) {
      float sum = sum_of(sums[r][c]);
      for (int64_t k = i; k < num_inputs; ++k) sum += x[r * num_inputs + k] * weight[c * num_inputs + k];
      y[r * y_stride + c] = sum;
    }
  }
}

template <int64_t C>
void all_rows(const float* x, int64_t n, const float* weight, int64_t num_inputs, float* y, int64_t y_stride) {
  for (; n >= kBlock; n -= kBlock, x += kBlock * num_inputs, y += kBlock * y_stride)
    block<kBlock, C>(x, weight, num_inputs, y, y_stride);
  if (n == 1) block<1, C>(x, weight, num_inputs, y, y_stride);
  if (n == 2) block<2, C>(x, weight, num_inputs, y, y_stride);
  if (n == 3) block<3, C>(x, weight, num_inputs, y, y_stride);
}

}  // namespace

void linear_few_rows(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO) {
  const int64_t n = x_NI.size(0), num_inputs = x_NI.size(1), num_outputs = weight_OI.size(0);
  check_shape("linear_few_rows", "x", x_NI, {n, num_inputs});
  check_shape("linear_few_rows", "weight", weight_OI, {num_outputs, num_inputs});
  check_shape("linear_few_rows", "y", y_NO, {n, num_outputs});
  for (const at::Tensor* t : {&x_NI, &weight_OI, &y_NO}) check_dtype("linear_few_rows", "values", *t, at::kFloat);
  const float *x = x_NI.data_ptr<float>(), *weight = weight_OI.data_ptr<float>();
  float* y = y_NO.data_ptr<float>();
  const int64_t num_blocks = (num_outputs + kBlock - 1) / kBlock;
  const int64_t grain = std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, n * num_inputs * kBlock));
  at::parallel_for(0, num_blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin * kBlock; o < std::min(end * kBlock, num_outputs); o += kBlock) {
      if (o + kBlock <= num_outputs) {
        all_rows<kBlock>(x, n, weight + o * num_inputs, num_inputs, y + o, num_outputs);
      } else {
        for (int64_t c = o; c < num_outputs; ++c)
          all_rows<1>(x, n, weight + c * num_inputs, num_inputs, y + c, num_outputs);
      }
    }
  });
}

}  // namespace qtune
