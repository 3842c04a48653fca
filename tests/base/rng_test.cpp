#include "qtune/base/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace qtune {
namespace {

TEST(CounterRng, AnyPointOfAStreamIsReachedWithoutReplay) {
  CounterRng from_start(7, 3);
  for (int i = 0; i < 100; ++i) from_start.next();
  CounterRng at_100(7, 3, 100);
  EXPECT_EQ(from_start.next(), at_100.next());
}

TEST(CounterRng, SeedsAndStreamsDiffer) {
  std::set<uint64_t> first;
  for (uint64_t seed = 0; seed < 30; ++seed)
    for (uint64_t stream = 0; stream < 30; ++stream) first.insert(CounterRng(seed, stream).next());
  EXPECT_EQ(first.size(), 900u);
}

TEST(CounterRng, BoundedValuesAreNearlyUniform) {
  CounterRng rng(1, 1);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts[rng.next_below(7)];
  // Standard deviation of a count is sqrt(10000 * 6/7) = 93; five of them never happen with this fixed seed.
  for (const int c : counts) EXPECT_NEAR(c, 10000, 465);
}

TEST(RandomPermutation, HoldsEachIndexOnceAndDependsOnTheStream) {
  auto a = random_permutation(42, 0, 1000), b = random_permutation(42, 1, 1000);
  EXPECT_NE(a, b);
  EXPECT_EQ(a, random_permutation(42, 0, 1000));
  std::sort(a.begin(), a.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(a[i], i);
  EXPECT_TRUE(random_permutation(1, 1, 0).empty());
}

}  // namespace
}  // namespace qtune
