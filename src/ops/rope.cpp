#include "qtune/ops/rope.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <numbers>

#include "checks.h"
#include "qtune/ops/device_ops.h"
#include "vector_math.h"

namespace qtune {
namespace {

constexpr int64_t kRowGrain = 16;

float scaled(float frequency, const RopeScaling& s) {
  const float factor = static_cast<float>(s.factor);
  if (s.type == RopeScalingType::kNone) return frequency;
  if (s.type == RopeScalingType::kLinear) return frequency / factor;
  const double wave = 2 * std::numbers::pi / frequency, original = static_cast<double>(s.original_positions);
  if (wave > original / s.low_freq_factor) return frequency / factor;
  if (wave < original / s.high_freq_factor) return frequency;
  const double share = (original / wave - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return static_cast<float>((1 - share) * frequency / factor + share * frequency);
}

}  // namespace

std::vector<float> rope_frequencies(int64_t head_dim, double theta, const RopeScaling& scaling) {
  std::vector<float> frequencies;
  for (int64_t j = 0; j < head_dim / 2; ++j) {
    // float32 steps as in the published implementation, so that angles agree to the last bits at large positions.
    const float exponent = static_cast<float>(2 * j) / static_cast<float>(head_dim);
    frequencies.push_back(scaled(1.0f / std::pow(static_cast<float>(theta), exponent), scaling));
  }
  return frequencies;
}

at::Tensor make_rope_table(int64_t num_positions, const std::vector<float>& frequencies) {
  const int64_t half = static_cast<int64_t>(frequencies.size());
  at::Tensor table = at::empty({num_positions, 2 * half}, at::kFloat);
  float* out = table.data_ptr<float>();
  for (int64_t p = 0; p < num_positions; ++p) {
    for (int64_t j = 0; j < half; ++j) {
      const float angle = static_cast<float>(p) * frequencies[static_cast<size_t>(j)];
      out[p * 2 * half + j] = std::cos(angle);
      out[p * 2 * half + half + j] = std::sin(angle);
    }
  }
  return table;
}

void apply_rope(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table, int64_t num_heads,
                int64_t num_kv_heads, RopeDirection direction) {
  const int64_t n = qkv_NX.size(0), e = table.size(1), half = e / 2;
  check_shape("apply_rope", "qkv", qkv_NX, {n, (num_heads + 2 * num_kv_heads) * e});
  check_shape("apply_rope", "positions", positions_N, {n});
  check_dtype("apply_rope", "positions", positions_N, at::kInt);
  if (const DeviceOps* device = device_ops(qkv_NX)) {
    return device->apply_rope(qkv_NX, positions_N, table, num_heads, num_kv_heads, direction);
  }
  const int32_t* positions = positions_N.data_ptr<int32_t>();
  for (int64_t i = 0; i < n; ++i) {
    if (positions[i] < 0 || positions[i] >= table.size(0)) {
      throw Error(fmt::format("apply_rope: position {} of row {} is outside the table of {} positions", positions[i], i,
                              table.size(0)));
    }
  }
  const float sign = direction == RopeDirection::kForward ? 1.0f : -1.0f;
  dispatch_compute_dtype("apply_rope", qkv_NX, [&](auto element) {
    using T = decltype(element);
    T* qkv = qkv_NX.data_ptr<T>();
    const float* angles = table.data_ptr<float>();
    at::parallel_for(0, n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float *c = angles + positions[i] * e, *s = c + half;
        for (int64_t h = 0; h < num_heads + num_kv_heads; ++h) {
          T *a = qkv + i * qkv_NX.size(1) + h * e, *b = a + half;
#pragma omp simd
          for (int64_t j = 0; j < half; ++j) {
            const float x = to_float(a[j]), y = to_float(b[j]), sj = sign * s[j];
            a[j] = from_float<T>(x * c[j] - y * sj);
            b[j] = from_float<T>(y * c[j] + x * sj);
          }
        }
      }
    });
  });
}

}  // namespace qtune
