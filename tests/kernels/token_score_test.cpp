#include "kernels/token_score.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "simt/poison.h"

namespace qtune {
namespace {

TEST(TokenScoreKernel, EqualsTheFloat64Loop) {
  const int64_t n = 3, v = 1000;
  std::vector<float> logits(static_cast<size_t>(n * v));
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(std::sin(static_cast<double>(i)) * 5);
  const std::vector<int32_t> targets{0, 500, 999};
  auto nll = simt::poisoned<float>(n), entropy = simt::poisoned<float>(n), lse = simt::poisoned<float>(n);
  const TokenScoreRows rows{n, v, v, targets.data(), nll.data(), entropy.data(), lse.data()};
  ASSERT_EQ(launch_token_score(logits.data(), rows, nullptr), cudaSuccess);
  for (size_t r = 0; r < 3; ++r) {
    double sum = 0;
    for (size_t j = 0; j < 1000; ++j) sum += std::exp(static_cast<double>(logits[r * 1000 + j]));
    EXPECT_NEAR(lse[r], std::log(sum), 1e-5);
  }
}

}  // namespace
}  // namespace qtune
