#include "qtune/prune/sample_selection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "qtune/base/error.h"
#include "qtune/prune/quantile.h"

namespace qtune {
namespace {

using testing::ElementsAre;

TEST(Quantile, IsTheSmallestValueWithTheFractionAtOrBelowIt) {
  const std::vector<double> x = {1, 2, 3, 4};
  EXPECT_EQ(quantile(x, 0.0), 1);
  EXPECT_EQ(quantile(x, 0.25), 1);
  EXPECT_EQ(quantile(x, 0.26), 2);
  EXPECT_EQ(quantile(x, 0.5), 2);
  EXPECT_EQ(quantile(x, 0.75), 3);
  EXPECT_EQ(quantile(x, 0.76), 4);
  EXPECT_EQ(quantile(x, 1.0), 4);
}

TEST(Quantile, RankIsNotRaisedByTheRoundingOfTheProduct) {
  std::vector<double> x(30);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i + 1);
  ASSERT_GT((0.1 + 0.2) * 10, 3.0);  // the product of the next line is above 9
  EXPECT_EQ(quantile(x, 0.1 + 0.2), 9);
}

TEST(Quantile, OfNothingIsAnError) { EXPECT_THROW(quantile({}, 0.5), Error); }

TEST(Quadrant, SampleOnThresholdCountsAsLow) {
  EXPECT_EQ(level_of(2, 2, 5), Level::kLow);
  EXPECT_EQ(level_of(5, 2, 5), Level::kHigh);
  EXPECT_EQ(level_of(3, 2, 5), Level::kMiddle);
  EXPECT_EQ(level_of(2, 2, 2), Level::kLow);  // on both
}

TEST(Quadrant, MiddleOnOneAxisIsMiddle) {
  const Thresholds t{.ppl_hi = 8, .ppl_lo = 2, .ent_lo = 1, .ent_hi = 3};
  EXPECT_EQ(quadrant_of(9, 4, t), Quadrant::kNoise);
  EXPECT_EQ(quadrant_of(9, 1, t), Quadrant::kMisconception);
  EXPECT_EQ(quadrant_of(1, 1, t), Quadrant::kRedundant);
  EXPECT_EQ(quadrant_of(1, 3, t), Quadrant::kCalibration);
  EXPECT_EQ(quadrant_of(9, 2, t), Quadrant::kMiddle);
  EXPECT_EQ(quadrant_of(5, 1, t), Quadrant::kMiddle);
}

TEST(Summaries, PerplexityIsCappedAndEmptyIsAnError) {
  EXPECT_DOUBLE_EQ(perplexity_of(std::vector<double>{1, 3}), std::exp(2.0));
  EXPECT_EQ(perplexity_of(std::vector<double>{750}), std::exp(80.0));
  EXPECT_EQ(mean_entropy_of(std::vector<double>{1, 2}), 1.5);
  EXPECT_THROW(perplexity_of({}), Error);
  EXPECT_THROW(mean_entropy_of({}), Error);
}

TEST(Summaries, SumsRunLeftToRight) {
  // From the left 1e16 swallows each 1; from the right, or in pairs, the ones survive.
  EXPECT_EQ(mean_entropy_of(std::vector<double>{1e16, 1, 1, 1}), 1e16 / 4);
}

TEST(NumKeptSamples, IsTheFloorButAtLeastOne) {
  EXPECT_EQ(num_kept_samples(0.125, 64), 8);
  EXPECT_EQ(num_kept_samples(0.125, 31), 3);
  EXPECT_EQ(num_kept_samples(0.125, 1), 1);
  EXPECT_EQ(num_kept_samples(0.29, 100), 29);  // the product is 28.999999999999996
  EXPECT_EQ(num_kept_samples(1.0, 7), 7);
  EXPECT_EQ(num_kept_samples(0.5, 0), 0);
}

TEST(Bisection, AllEqualScoresLieInQ3) {
  const std::vector<double> same(5, 2.0);
  const Partition partition = bisect_thresholds(same, same, {.keep = 0.4});
  EXPECT_THAT(partition.quadrants, testing::Each(Quadrant::kRedundant));
  EXPECT_THAT(sides_of(same, same), testing::Each(0.0));
}

TEST(Bisection, ReachedTargetMovesAlphaDown) {
  // Ranks 1 and 2 of two samples: the first round already has both in Q2 and Q4, and so has every later one.
  const Partition partition = bisect_thresholds(std::vector<double>{1, 9}, std::vector<double>{2, 1}, {.keep = 0.5});
  EXPECT_THAT(partition.quadrants, ElementsAre(Quadrant::kCalibration, Quadrant::kMisconception));
  EXPECT_DOUBLE_EQ(partition.thresholds.alpha, 0.49 / 1024);
}

TEST(Bisection, KeptQuadrantsAreThoseCounted) {
  const std::vector<double> ppl = {1, 2, 3, 4}, ent = {1, 2, 3, 4};  // Q3 and Q1 only
  const Partition paper = bisect_thresholds(ppl, ent, {.keep = 0.5});
  const Partition other =
      bisect_thresholds(ppl, ent, {.keep = 0.5, .kept_quadrants = {Quadrant::kNoise, Quadrant::kRedundant}});
  EXPECT_GT(paper.thresholds.alpha, 0.4895);
  EXPECT_LT(other.thresholds.alpha, 0.001);
}

const QuadrantSet kPaperSet{Quadrant::kMisconception, Quadrant::kCalibration};

TEST(ChooseSamples, KeptQuadrantsComeFirstThenTheLargestSides) {
  const std::vector<Quadrant> quadrants = {Quadrant::kNoise, Quadrant::kMisconception, Quadrant::kMiddle,
                                           Quadrant::kCalibration};
  const std::vector<double> sides = {0.9, 0.1, -0.95, -0.2};
  EXPECT_THAT(choose_samples(quadrants, sides, kPaperSet, 1), ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(choose_samples(quadrants, sides, kPaperSet, 2), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(choose_samples(quadrants, sides, kPaperSet, 3), ElementsAre(0, 1, 1, 1));
  EXPECT_THAT(choose_samples(quadrants, sides, kPaperSet, 9), ElementsAre(1, 1, 1, 1));
}

TEST(ChooseSamples, TiesGoToTheEarlierSample) {
  const std::vector<Quadrant> quadrants(4, Quadrant::kMisconception);
  EXPECT_THAT(choose_samples(quadrants, {0.5, -0.7, 0.7, 0.7}, kPaperSet, 2), ElementsAre(0, 1, 1, 0));
}

}  // namespace
}  // namespace qtune
