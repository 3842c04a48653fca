// Inputs, buffers and tolerances of the kernel tests. Truth is always a float64 loop.
#pragma once

#include <cuda_bf16.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "qtune/base/rng.h"
#include "simt/poison.h"

namespace qtune {

using Bf16 = __nv_bfloat16;

inline double widen(double x) { return x; }
inline double widen(float x) { return x; }
inline double widen(Bf16 x) { return __bfloat162float(x); }

template <class T>
T narrow(double x) {
  if constexpr (sizeof(T) == 2) {
    return __float2bfloat16_rn(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

/// A buffer of exactly `count` elements whose first one lies `shift` elements behind a 16-byte border. Past its end is
/// AddressSanitizer's; what lies before it is checked by the destructor.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count, int64_t shift = 0) : shift_(shift), values_(simt::poisoned<T>(count + shift)) {}
  Buffer(const std::vector<T>& values, int64_t shift = 0) : Buffer(static_cast<int64_t>(values.size()), shift) {
    std::copy(values.begin(), values.end(), values_.begin() + shift);
  }
  ~Buffer() {
    for (int64_t i = 0; i < shift_; ++i) EXPECT_TRUE(simt::first_poisoned<T>({values_[static_cast<size_t>(i)]}) == 0);
  }
  Buffer(const Buffer&) = default;

  T* data() { return values_.data() + shift_; }
  std::vector<T> values() const { return {values_.begin() + shift_, values_.end()}; }

 private:
  int64_t shift_;
  std::vector<T> values_;
};

/// Even numbers in [-scale, scale), as the compute dtype has them.
template <class T>
std::vector<T> random_values(int64_t count, uint64_t seed, double scale = 1) {
  CounterRng rng(seed, 0);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& v : values) v = narrow<T>((2 * rng.next_unit() - 1) * scale);
  return values;
}

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> wide;
  for (const T v : values) wide.push_back(widen(v));
  return wide;
}

/// float32: sums of up to a few thousand terms of size 1, in another order than the loop's, and exp of 2 ulp.
inline constexpr double kFloat32Error = 1e-5;
/// bfloat16 has 8 bits: rounding to it errs by half a spacing, at most 2^-8 of the value. ATen computes these ops in
/// float32 and rounds once, so this is its error; the kernels are held to the same, not to twice that.
inline constexpr double kBFloat16Rounding = 0x1p-8;

template <class T>
double allowed_error(double expected) {
  const double float32 = kFloat32Error * (1 + std::abs(expected));
  return sizeof(T) == 2 ? float32 + kBFloat16Rounding * std::abs(expected) : float32;
}

/// NaN in `found` is always too far, unless NaN is expected.
template <class T>
testing::AssertionResult all_close(const std::vector<T>& found, const std::vector<double>& expected) {
  if (found.size() != expected.size()) return testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < found.size(); ++i) {
    const double f = widen(found[i]);
    if (std::isnan(f) && std::isnan(expected[i])) continue;
    if (!(std::abs(f - expected[i]) <= allowed_error<T>(expected[i]))) {
      return testing::AssertionFailure() << "element " << i << ": found " << f << ", expected " << expected[i];
    }
  }
  return testing::AssertionSuccess();
}

template <class T>
testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return testing::AssertionFailure() << "sizes differ";
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return testing::AssertionFailure() << "element " << i << " differs";
  }
  return testing::AssertionSuccess();
}

struct MatrixSize {
  int64_t rows, columns;

  bool operator==(const MatrixSize&) const = default;
  std::string text(int64_t shift) const {
    return std::to_string(rows) + " x " + std::to_string(columns) + ", shift " + std::to_string(shift);
  }
};

/// More rows than a grid has blocks (kMaxGrid in kernels/pack.h).
inline constexpr MatrixSize kManyRows{8195, 3};
/// More rows than a grid may have blocks in y. For kernels whose threads never wait: those are emulated fast.
inline constexpr MatrixSize kVeryManyRows{65539, 1};

/// Which buffers of a test lie one element behind a 16-byte border: 0 none, 1 all, 2 + i the i-th alone.
inline int64_t shift_of(int64_t pattern, int64_t buffer) { return pattern == 1 || pattern == buffer + 2 ? 1 : 0; }

/// The patterns to test: any one buffer matters only where rows allow packs.
inline std::vector<int64_t> shifts_for(MatrixSize size) {
  if (size == kManyRows || size == kVeryManyRows) return {0};
  if (size.rows == 0 || size.columns != 64) return {0, 1};
  return {0, 1, 2, 3, 4, 5, 6, 7, 8};
}

using ComputeTypes = testing::Types<float, Bf16>;

struct ComputeTypeNames {
  template <class T>
  static std::string GetName(int) {
    return sizeof(T) == 2 ? "bfloat16" : "float32";
  }
};

}  // namespace qtune
