#include "../../src/ops/vector_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace qtune {
namespace {

/// The nearest float above.
float next(float x) { return std::nextafter(x, std::numeric_limits<float>::infinity()); }

TEST(FastExp, RelativeErrorIsBelow3em7OverItsWholeRange) {
  double worst = 0, where = 0;
  // A step no multiple of ln 2 is a multiple of, and fine enough for about 170 points per binade of the result.
  for (double x = -87; x <= 88; x += 0.00412) {
    const float argument = static_cast<float>(x);
    const double truth = std::exp(static_cast<double>(argument)), error = std::abs(fast_exp(argument) / truth - 1);
    if (error > worst) worst = error, where = x;
  }
  EXPECT_LT(worst, 3e-7) << "at " << where;
}

TEST(FastExp, BordersBetweenPowersOfTwoAreSmooth) {
  for (int n = -125; n <= 126; ++n) {
    // Here the reduction by ln 2 turns from one multiple to the next.
    const float border = static_cast<float>((n + 0.5) * std::log(2.0));
    for (float x = border - 1e-5f, i = 0; i < 20; x = next(x), ++i) {
      if (x > 88.0f || x < -87.0f) continue;
      EXPECT_LT(std::abs(fast_exp(x) / std::exp(static_cast<double>(x)) - 1), 3e-7) << x;
    }
  }
}

TEST(FastExp, ZeroGivesExactlyOne) {
  EXPECT_EQ(fast_exp(0.0f), 1.0f);
  EXPECT_EQ(fast_exp(-0.0f), 1.0f);
}

TEST(FastExp, EndsSaturateWithoutOverflow) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float low : {-87.001f, -100.0f, -1e30f, -infinity}) EXPECT_EQ(fast_exp(low), 0.0f) << low;
  for (const float high : {88.5f, 100.0f, 1e30f, infinity}) EXPECT_EQ(fast_exp(high), fast_exp(88.0f)) << high;
  EXPECT_TRUE(std::isnan(fast_exp(std::nanf(""))));
}

TEST(FastSigmoid, EndsAreZeroAndOne) {
  EXPECT_EQ(fast_sigmoid(200.0f), 1.0f);
  EXPECT_LT(fast_sigmoid(-200.0f), 1e-37f);
  EXPECT_GE(fast_sigmoid(-200.0f), 0.0f);
  EXPECT_EQ(fast_sigmoid(0.0f), 0.5f);
}

TEST(BFloat16, EveryValueComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const at::BFloat16 value(static_cast<unsigned short>(bits), at::BFloat16::from_bits());
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(from_float<at::BFloat16>(wide))));
    } else {
      EXPECT_EQ(from_float<at::BFloat16>(wide).x, bits);
    }
  }
}

TEST(BFloat16, RoundsToNearestEven) {
  // Between the neighbours b and b + 1: below half down, above half up, half to the even one.
  for (uint32_t b : {0x3f80u, 0x3f81u, 0x0001u, 0x7f7eu, 0xc123u}) {
    const auto rounded = [](uint32_t bits) { return from_float<at::BFloat16>(std::bit_cast<float>(bits)).x; };
    EXPECT_EQ(rounded((b << 16) | 0x7fffu), b);
    EXPECT_EQ(rounded((b << 16) | 0x8001u), b + 1);
    EXPECT_EQ(rounded((b << 16) | 0x8000u), b + (b & 1u));
  }
}

}  // namespace
}  // namespace qtune
