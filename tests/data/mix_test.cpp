#include "qtune/data/mix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "qtune/base/error.h"

namespace qtune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Positions in the datasets laid end to end, as Python's `datasets` library counts them.
std::vector<int64_t> flat(const MixOptions& options) {
  std::vector<int64_t> positions;
  for (const MixedIndex& entry : mix_order(options)) {
    int64_t offset = 0;
    for (int32_t d = 0; d < entry.dataset; ++d) offset += options.sizes[static_cast<size_t>(d)];
    positions.push_back(offset + entry.index);
  }
  return positions;
}

std::string error_of(const MixOptions& options) {
  try {
    mix_order(options);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// The expected orders are those in the comments of datasets 5.2 (arrow_dataset.py, _interleave_map_style_datasets).
TEST(Mix, WithoutProbabilitiesTheOrderIsThatOfPythonsLibrary) {
  EXPECT_THAT(flat({.sizes = {3, 4, 5}, .strategy = MixStrategy::kConcat}),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(flat({.sizes = {3, 4, 5}, .strategy = MixStrategy::kInterleaveUnder}),
              ElementsAre(0, 3, 7, 1, 4, 8, 2, 5, 9));
  EXPECT_THAT(flat({.sizes = {3, 4, 5}, .strategy = MixStrategy::kInterleaveOver}),
              ElementsAre(0, 3, 7, 1, 4, 8, 2, 5, 9, 0, 6, 10, 1, 3, 11));
  EXPECT_THAT(flat({.sizes = {3, 4, 3}, .strategy = MixStrategy::kInterleaveOnce}),
              ElementsAre(0, 3, 7, 1, 4, 8, 2, 5, 9, 6));
}

TEST(Mix, UnderEndsWithTheFirstDatasetThatRunsOut) {
  const std::vector<int64_t> sizes{50, 200};
  const auto order =
      mix_order({.sizes = sizes, .strategy = MixStrategy::kInterleaveUnder, .probabilities = {0.5, 0.5}, .seed = 3});
  std::vector<int64_t> taken(2, 0);
  for (const MixedIndex& entry : order) EXPECT_EQ(entry.index, taken.at(static_cast<size_t>(entry.dataset))++);
  EXPECT_EQ(order.back(), (MixedIndex{.dataset = 0, .index = 49}));
  EXPECT_LT(taken[1], 200);
}

TEST(Mix, OverEndsWithTheLastDatasetThatRunsOutAndOthersStartAgain) {
  const auto order =
      mix_order({.sizes = {10, 100}, .strategy = MixStrategy::kInterleaveOver, .probabilities = {0.5, 0.5}, .seed = 3});
  EXPECT_EQ(order.back(), (MixedIndex{.dataset = 1, .index = 99}));
  int64_t taken = 0;
  for (const MixedIndex& entry : order) {
    if (entry.dataset != 0) continue;
    EXPECT_EQ(entry.index, taken++ % 10);
  }
  EXPECT_GT(taken, 20);
}

TEST(Mix, OnceHasEverySampleOnce) {
  const auto positions =
      flat({.sizes = {30, 70}, .strategy = MixStrategy::kInterleaveOnce, .probabilities = {0.9, 0.1}, .seed = 3});
  EXPECT_EQ(positions.size(), 100u);
  EXPECT_EQ(std::set<int64_t>(positions.begin(), positions.end()).size(), 100u);
}

TEST(Mix, DatasetsAreDrawnByTheirProbabilities) {
  const std::vector<double> probabilities{0.2, 0.5, 0.3};
  const auto order = mix_order({.sizes = {100000, 100000, 100000},
                                .strategy = MixStrategy::kInterleaveUnder,
                                .probabilities = probabilities,
                                .seed = 11});
  std::vector<double> counts(3, 0);
  for (const MixedIndex& entry : order) ++counts.at(static_cast<size_t>(entry.dataset));
  const auto n = static_cast<double>(order.size());
  // Five standard deviations of a binomial share.
  for (size_t d = 0; d < 3; ++d) EXPECT_NEAR(counts[d] / n, probabilities[d], 5 * std::sqrt(0.25 / n));
}

TEST(Mix, OrderDependsOnTheSeedAlone) {
  const auto order = [](uint64_t seed) {
    return flat(
        {.sizes = {40, 60}, .strategy = MixStrategy::kInterleaveUnder, .probabilities = {0.4, 0.6}, .seed = seed});
  };
  EXPECT_EQ(order(1), order(1));
  EXPECT_NE(order(1), order(2));
}

TEST(Mix, ADatasetOfProbabilityZeroIsNeverDrawnAndMayBeEmpty) {
  const auto order = mix_order(
      {.sizes = {5, 0, 5}, .strategy = MixStrategy::kInterleaveUnder, .probabilities = {0.5, 0, 0.5}, .seed = 1});
  for (const MixedIndex& entry : order) EXPECT_NE(entry.dataset, 1);
  const auto last =
      mix_order({.sizes = {500, 5}, .strategy = MixStrategy::kInterleaveUnder, .probabilities = {1, 0}, .seed = 1});
  EXPECT_EQ(last.size(), 500u);
}

TEST(Mix, OneDatasetStaysAsItIs) {
  EXPECT_THAT(flat({.sizes = {3}, .strategy = MixStrategy::kInterleaveOver}), ElementsAre(0, 1, 2));
  EXPECT_TRUE(mix_order({}).empty());
}

TEST(Mix, FaultyProbabilitiesAreNamed) {
  const auto over = [](std::vector<double> probabilities) {
    return error_of(
        {.sizes = {10, 10}, .strategy = MixStrategy::kInterleaveOver, .probabilities = std::move(probabilities)});
  };
  EXPECT_THAT(over({1}), HasSubstr("interleave_probs: expected one number for each of the 2 datasets, found 1"));
  EXPECT_THAT(over({0.5, 0.6}), HasSubstr("numbers with sum 1, found sum 1.1"));
  EXPECT_THAT(over({-0.5, 1.5}), HasSubstr("numbers from 0 to 1, found -0.5"));
  EXPECT_THAT(over({std::numeric_limits<double>::quiet_NaN(), 1}), HasSubstr("found nan"));
  EXPECT_THAT(over({1, 0}), HasSubstr("interleave_over ends when every dataset has run out, found 0 for dataset 2"));
  EXPECT_THAT(over({1 - 1e-9, 1e-9}), HasSubstr("within 100 times the number of samples"));
  EXPECT_EQ(over({1.0 / 3, 2.0 / 3}), "");
  EXPECT_THAT(error_of({.sizes = {1, 1}, .probabilities = {0.5, 0.5}}), HasSubstr("none with mix_strategy: concat"));
  EXPECT_THAT(error_of({.sizes = {1, 0}, .strategy = MixStrategy::kInterleaveUnder}), HasSubstr("none in dataset 2"));
  EXPECT_THROW(parse_mix_strategy("interleave"), ConfigError);
  EXPECT_EQ(to_string(parse_mix_strategy("interleave_once")), "interleave_once");
}

}  // namespace
}  // namespace qtune
