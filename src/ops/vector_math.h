// Scalar functions that compilers turn into vector code inside `#pragma omp simd` loops: no calls, no branches.
#pragma once

#include <ATen/core/Tensor.h>

#include <bit>
#include <cstdint>

namespace qtune {

inline float to_float(float x) { return x; }
inline float to_float(at::BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.x) << 16); }

template <class T>
inline T from_float(float x);

template <>
inline float from_float<float>(float x) {
  return x;
}

/// Round to nearest even; NaN stays NaN.
template <>
inline at::BFloat16 from_float<at::BFloat16>(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t result = x == x ? rounded : 0x7fc0u;
  return at::BFloat16(static_cast<unsigned short>(result), at::BFloat16::from_bits());
}

/// e^x, relative error below 3e-7 (degree-6 Taylor polynomial after reduction by ln 2). Below -87: 0; above 88: e^88.
/// NaN gives NaN.
inline float fast_exp(float x) {
  const float clamped = x > 88.0f ? 88.0f : (x < -87.0f ? -87.0f : x);
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa.
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693145751953125f) - n * 1.42860682030941723e-6f;
  float p = 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float scale = std::bit_cast<float>((std::bit_cast<int32_t>(shifted) - 0x4b400000 + 127) << 23);
  const float result = p * scale;
  return x < -87.0f ? 0.0f : (x == x ? result : x);
}

inline float fast_sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

}  // namespace qtune
