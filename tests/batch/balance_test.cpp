#include "qtune/batch/balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "qtune/base/rng.h"

namespace qtune {
namespace {

int64_t fullest(const std::vector<int64_t>& tokens, const std::vector<int>& ranks, int world_size) {
  std::vector<int64_t> sums(static_cast<size_t>(world_size), 0);
  for (size_t i = 0; i < tokens.size(); ++i) sums[static_cast<size_t>(ranks[i])] += tokens[i];
  return *std::max_element(sums.begin(), sums.end());
}

/// Tries all assignments.
int64_t best_possible(const std::vector<int64_t>& tokens, int world_size) {
  std::vector<int> ranks(tokens.size(), 0);
  int64_t best = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
  for (;;) {
    best = std::min(best, fullest(tokens, ranks, world_size));
    size_t i = 0;
    while (i < ranks.size() && ++ranks[i] == world_size) ranks[i++] = 0;
    if (i == ranks.size()) return best;
  }
}

/// Lengths as GSM8K's: 60 to 400, most around 150.
std::vector<int64_t> lengths(size_t count, uint64_t seed) {
  CounterRng rng(seed, 7);
  std::vector<int64_t> tokens(count);
  for (int64_t& t : tokens) {
    t = 60 + static_cast<int64_t>(rng.next_below(60) + rng.next_below(60) + rng.next_below(60));
    if (rng.next_below(10) == 0) t += static_cast<int64_t>(rng.next_below(160));
  }
  return tokens;
}

TEST(BalanceByTokens, EverySampleHasARank) {
  EXPECT_TRUE(balance_by_tokens({}, 3).empty());
  const std::vector<int64_t> tokens = lengths(50, 1);
  for (const int world_size : {1, 2, 7, 60}) {
    const std::vector<int> ranks = balance_by_tokens(tokens, world_size);
    ASSERT_EQ(ranks.size(), tokens.size());
    for (const int rank : ranks) {
      EXPECT_GE(rank, 0);
      EXPECT_LT(rank, world_size);
    }
  }
}

TEST(BalanceByTokens, FewSamplesLieWithinTwoPercentOfTheBestAssignment) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    for (const int world_size : {2, 3}) {
      const std::vector<int64_t> tokens = lengths(2 + seed % 8, seed);
      const int64_t found = fullest(tokens, balance_by_tokens(tokens, world_size), world_size);
      EXPECT_LE(static_cast<double>(found), 1.02 * static_cast<double>(best_possible(tokens, world_size)))
          << "seed " << seed << ", ranks " << world_size;
    }
  }
}

TEST(BalanceByTokens, FourSamplesARankAreEvenToFivePercentInTheMedian) {
  for (const int world_size : {2, 4, 8, 64}) {
    std::vector<double> imbalances;
    for (uint64_t seed = 0; seed < 51; ++seed) {
      const std::vector<int64_t> tokens = lengths(static_cast<size_t>(4 * world_size), seed);
      const double mean = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0})) / world_size;
      const int64_t most = fullest(tokens, balance_by_tokens(tokens, world_size), world_size);
      imbalances.push_back(static_cast<double>(most) / mean - 1);
    }
    std::sort(imbalances.begin(), imbalances.end());
    EXPECT_LT(imbalances[25], 0.05) << world_size;
  }
}

TEST(BalanceByTokens, OneLongSampleStandsAlone) {
  EXPECT_EQ(balance_by_tokens(std::vector<int64_t>{10, 1000, 10, 10}, 2), (std::vector<int>{1, 0, 1, 1}));
}

}  // namespace
}  // namespace qtune
