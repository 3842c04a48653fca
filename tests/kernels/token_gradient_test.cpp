// The gradient of token scores, in place, against the float64 loop.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/token_score.h"
#include "logits_rows.h"
#include "simt/orders.h"

namespace qtune {
namespace {

/// p = e^(z - logsumexp). The exponent is rounded once (relative to its own size) and carries the float32 rounding of
/// logsumexp; expf and the scale add 4 roundings. bfloat16 then rounds the result: half a spacing of 8 bits. What
/// float32 cannot hold (p below 1e-38) may become 0.
template <class T>
double gradient_tolerance(double exact, double p, double scale, double logsumexp, double log_p) {
  const double float32 = p * scale * kFloatRounding * (4 + std::abs(logsumexp) + std::abs(log_p));
  const double rounding = (sizeof(T) == 2 ? kBFloat16Rounding : 2 * kFloatRounding) * std::abs(exact);
  return float32 + rounding + std::numeric_limits<float>::min();
}

template <class T>
std::vector<float> logsumexps(Logits<T>& logits, const std::vector<int32_t>& targets) {
  std::vector<float> result;
  for (int64_t r = 0; r < logits.num_rows; ++r) {
    result.push_back(static_cast<float>(truth_of(logits, r, targets[static_cast<size_t>(r)]).logsumexp));
  }
  return result;
}

template <class T>
LogitsTile whole_tile(const Logits<T>& logits, const std::vector<int32_t>& targets) {
  return {logits.num_rows, logits.num_words, logits.stride, 0, targets.data()};
}

/// `before` holds the logits, `after` what the kernel made of them.
template <class T>
void expect_true_gradient(Logits<T>& before, Logits<T>& after, const std::vector<int32_t>& targets,
                          const std::vector<double>& scales) {
  for (int64_t r = 0; r < before.num_rows; ++r) {
    const int32_t target = targets[static_cast<size_t>(r)];
    const double logsumexp = truth_of(before, r, target).logsumexp, scale = scales[static_cast<size_t>(r)];
    for (int64_t j = 0; j < before.num_words; ++j) {
      const double log_p = before.value(r, j) - logsumexp, p = target == kIgnoredTarget ? 0 : std::exp(log_p);
      const double exact = (p - (j == target ? 1 : 0)) * scale;
      ASSERT_NEAR(after.value(r, j), exact, gradient_tolerance<T>(exact, p, scale, logsumexp, log_p))
          << "row " << r << ", word " << j;
    }
  }
}

template <class T>
class TokenGradientKernel : public testing::Test {};
TYPED_TEST_SUITE(TokenGradientKernel, ComputeTypes, ComputeTypeNames);

TYPED_TEST(TokenGradientKernel, EqualsTheFloat64LoopForAnyVocabularyAndAddress) {
  for (const int64_t v : kVocabularies) {
    const int64_t rows = v > 5000 ? 2 : 11;
    for (const int64_t gap : {0, 3}) {
      SCOPED_TRACE("vocabulary " + std::to_string(v) + ", gap " + std::to_string(gap));
      Logits<TypeParam> logits(rows, v, gap, gap == 0 ? 0 : 1);
      fill(logits);
      const std::vector<int32_t> targets = spread_targets(rows, v);
      const std::vector<float> lse = logsumexps(logits, targets);
      Logits<TypeParam> gradient = logits;
      ASSERT_EQ(launch_token_gradient(gradient.data(), whole_tile(gradient, targets), {lse.data()}, nullptr),
                cudaSuccess);
      expect_true_gradient(logits, gradient, targets, std::vector<double>(static_cast<size_t>(rows), 1));
      // Nothing was written between the rows or before them.
      for (int64_t r = 0; r + 1 < rows; ++r) {
        for (int64_t j = v; j < v + gap; ++j) ASSERT_TRUE(std::isnan(gradient.value(r, j)));
      }
      if (gap > 0) {
        ASSERT_TRUE(std::isnan(gradient.value(0, -1)));
      }
    }
  }
}

TYPED_TEST(TokenGradientKernel, ScalesOfTheTileAndOfRowsMultiply) {
  Logits<TypeParam> logits(3, 33);
  fill(logits);
  const std::vector<int32_t> targets{0, 32, 5};
  const std::vector<float> lse = logsumexps(logits, targets), row_scales{2.0f, 0.0f, -0.5f};
  Logits<TypeParam> gradient = logits;
  ASSERT_EQ(launch_token_gradient(gradient.data(), whole_tile(gradient, targets),
                                  {lse.data(), row_scales.data(), 0.125f}, nullptr),
            cudaSuccess);
  for (int64_t r = 0; r < 3; ++r) {
    const double scale = 0.125 * row_scales[static_cast<size_t>(r)];
    for (int64_t j = 0; j < 33; ++j) {
      const double log_p = logits.value(r, j) - lse[static_cast<size_t>(r)], p = std::exp(log_p);
      const double exact = (p - (j == targets[static_cast<size_t>(r)] ? 1 : 0)) * scale;
      ASSERT_NEAR(gradient.value(r, j), exact, gradient_tolerance<TypeParam>(exact, p, std::abs(scale), 10, log_p));
    }
  }
}

TYPED_TEST(TokenGradientKernel, ChunksOfTheVocabularyGiveTheWholeGradient) {
  Logits<TypeParam> logits(5, 5003);
  fill(logits);
  const std::vector<int32_t> targets = spread_targets(5, 5003);
  const std::vector<float> lse = logsumexps(logits, targets);
  Logits<TypeParam> whole = logits, chunks = logits;
  ASSERT_EQ(launch_token_gradient(whole.data(), whole_tile(whole, targets), {lse.data()}, nullptr), cudaSuccess);
  const int64_t begins[] = {0, 1, 2500, 5003};
  for (int c = 0; c < 3; ++c) {
    const LogitsTile tile{5, begins[c + 1] - begins[c], 5003, begins[c], targets.data()};
    ASSERT_EQ(launch_token_gradient(chunks.data(begins[c]), tile, {lse.data()}, nullptr), cudaSuccess);
  }
  EXPECT_TRUE(same_bits(chunks.buffer, whole.buffer));
}

TYPED_TEST(TokenGradientKernel, IgnoredRowsBecomeZeroWhateverTheyHold) {
  for (const int64_t v : {33, 2500}) {
    Logits<TypeParam> gradient(2, v);  // NaN all over
    const std::vector<int32_t> targets{-1, -1};
    const std::vector<float> lse(2, std::nanf("")), row_scales(2, kInfinity);
    ASSERT_EQ(
        launch_token_gradient(gradient.data(), whole_tile(gradient, targets), {lse.data(), row_scales.data()}, nullptr),
        cudaSuccess);
    for (int64_t j = 0; j < v; ++j) ASSERT_TRUE(gradient.value(0, j) == 0 && gradient.value(1, j) == 0) << j;
  }
}

TYPED_TEST(TokenGradientKernel, SureTargetKeepsItsSmallGradient) {
  // p = 1 - 1e-6: p - 1 from a rounded p would be off by 3 % in float32.
  Logits<TypeParam> logits(1, 1);
  logits.at(0, 0) = narrow<TypeParam>(0);
  const std::vector<int32_t> targets{0};
  const std::vector<float> lse{1e-6f};
  ASSERT_EQ(launch_token_gradient(logits.data(), whole_tile(logits, targets), {lse.data()}, nullptr), cudaSuccess);
  EXPECT_NEAR(logits.value(0, 0), -1e-6, 1e-6 * (kBFloat16Rounding + 1e-6));
}

TYPED_TEST(TokenGradientKernel, MaskedWordsHaveNone) {
  Logits<TypeParam> gradient(1, 100);
  fill(gradient);
  gradient.at(0, 0) = gradient.at(0, 50) = narrow<TypeParam>(-kInfinity);
  const std::vector<int32_t> targets{7};
  const std::vector<float> lse = logsumexps(gradient, targets);
  ASSERT_EQ(launch_token_gradient(gradient.data(), whole_tile(gradient, targets), {lse.data()}, nullptr), cudaSuccess);
  EXPECT_EQ(gradient.value(0, 0), 0);
  EXPECT_EQ(gradient.value(0, 50), 0);
}

TYPED_TEST(TokenGradientKernel, MoreThan65535Rows) {
  Logits<TypeParam> gradient(kManyTokenRows, 1);
  const auto n = static_cast<size_t>(kManyTokenRows);
  std::vector<int32_t> targets(n, 0);
  const std::vector<float> lse(n, 1.0f), row_scales(n, 2.0f);
  for (int64_t r = 0; r < kManyTokenRows; ++r) gradient.at(r, 0) = narrow<TypeParam>(r % 2 == 0 ? 1 : -kInfinity);
  ASSERT_EQ(
      launch_token_gradient(gradient.data(), whole_tile(gradient, targets), {lse.data(), row_scales.data()}, nullptr),
      cudaSuccess);
  for (int64_t r = 0; r < kManyTokenRows; ++r) ASSERT_EQ(gradient.value(r, 0), r % 2 == 0 ? 0 : -2) << r;
}

TYPED_TEST(TokenGradientKernel, NoRowsOrNoWordsLaunchNothing) {
  Logits<TypeParam> none(0, 1000);
  EXPECT_EQ(launch_token_gradient(none.data(), {0, 1000, 1000}, {}, nullptr), cudaSuccess);
  EXPECT_EQ(launch_token_gradient(none.data(), {5, 0, 1000}, {}, nullptr), cudaSuccess);
}

TYPED_TEST(TokenGradientKernel, GradientDoesNotDependOnTheOrderOfThreads) {
  Logits<TypeParam> logits(3, 2500, 1);
  fill(logits);
  const std::vector<int32_t> targets = spread_targets(3, 2500);
  const std::vector<float> lse = logsumexps(logits, targets);
  Logits<TypeParam> usual = logits;
  ASSERT_EQ(launch_token_gradient(usual.data(), whole_tile(usual, targets), {lse.data()}, nullptr), cudaSuccess);
  simt::for_each_order([&] {
    Logits<TypeParam> gradient = logits;
    ASSERT_EQ(launch_token_gradient(gradient.data(), whole_tile(gradient, targets), {lse.data()}, nullptr),
              cudaSuccess);
    EXPECT_TRUE(same_bits(gradient.buffer, usual.buffer));
  });
}

}  // namespace
}  // namespace qtune
