// Rows as 8-bit floats against a search through all 256 of them.
#include "kernels/fp8_rows.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernel_test_support.h"
#include "simt/orders.h"

namespace qtune {
namespace {

/// Sign, 4 bits of exponent (bias 7), 3 of mantissa; 0x7f and 0xff are NaN, there is no infinity.
double e4m3_value(int code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  if ((code & 127) == 127) return NAN;
  const double size = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return code & 128 ? -size : size;
}

double nearest_distance(double x) {
  double nearest = INFINITY;
  for (int code = 0; code < 256; ++code) {
    if (!std::isnan(e4m3_value(code))) nearest = std::min(nearest, std::abs(e4m3_value(code) - x));
  }
  return nearest;
}

struct Rounded {
  std::vector<uint8_t> values;
  std::vector<float> scales;
};

Rounded round_rows(const std::vector<Bf16>& x, int64_t num_rows, int64_t dim, int64_t shift) {
  Buffer<Bf16> input(x, shift);
  Buffer<uint8_t> values(num_rows * dim);
  Buffer<float> scales(num_rows);
  EXPECT_EQ(launch_fp8_rows({num_rows, dim, input.data(), values.data(), scales.data()}, nullptr), cudaSuccess);
  return {values.values(), scales.values()};
}

TEST(Fp8Rows, EveryNumberIsTheNearestOfItsRowsScale) {
  for (const int64_t dim : {1, 7, 8, 64, 1003}) {
    for (const int64_t shift : {0, 1}) {
      SCOPED_TRACE(testing::Message() << "dim " << dim << ", shift " << shift);
      const int64_t num_rows = 19;
      std::vector<Bf16> x = random_values<Bf16>(num_rows * dim, 5, 3);
      for (int64_t k = 0; k < dim; ++k) x[static_cast<size_t>(4 * dim + k)] = narrow<Bf16>(0);
      x[static_cast<size_t>(7 * dim)] = narrow<Bf16>(-1e30);
      const Rounded found = round_rows(x, num_rows, dim, shift);
      for (int64_t n = 0; n < num_rows; ++n) {
        double largest = 0;
        for (int64_t k = 0; k < dim; ++k)
          largest = std::max(largest, std::abs(widen(x[static_cast<size_t>(n * dim + k)])));
        const double scale = found.scales[static_cast<size_t>(n)];
        ASSERT_NEAR(scale, largest == 0 ? 1 : largest / 448, 1e-6 * scale);
        for (int64_t k = 0; k < dim; ++k) {
          const auto i = static_cast<size_t>(n * dim + k);
          const double wanted = widen(x[i]) / scale;
          // Two float32 roundings may move a number across a border between neighbours.
          ASSERT_LE(std::abs(e4m3_value(found.values[i]) - wanted), nearest_distance(wanted) + 1e-6 * std::abs(wanted));
        }
      }
    }
  }
}

TEST(Fp8Rows, ARowThatIsNotFiniteShowsInItsScaleAlone) {
  for (const double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    std::vector<Bf16> x = random_values<Bf16>(3 * 100, 5);
    x[177] = narrow<Bf16>(bad);
    const Rounded found = round_rows(x, 3, 100, 0);
    EXPECT_TRUE(std::isfinite(found.scales[0]));
    EXPECT_FALSE(std::isfinite(found.scales[1]));
    EXPECT_TRUE(std::isfinite(found.scales[2]));
  }
}

TEST(Fp8Rows, NoRowsLaunchNothing) { EXPECT_TRUE(round_rows({}, 0, 64, 0).scales.empty()); }

TEST(Fp8Rows, OrderOfThreadsChangesNothing) {
  const std::vector<Bf16> x = random_values<Bf16>(11 * 100, 8);
  const Rounded usual = round_rows(x, 11, 100, 0);
  simt::for_each_order([&] {
    const Rounded again = round_rows(x, 11, 100, 0);
    EXPECT_EQ(again.values, usual.values);
    EXPECT_EQ(again.scales, usual.scales);
  });
}

}  // namespace
}  // namespace qtune
