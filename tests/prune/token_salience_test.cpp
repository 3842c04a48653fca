#include "qtune/prune/token_salience.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "qtune/base/error.h"

namespace qtune {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;

const std::vector<double> kNll = {std::log(2.0), std::log(4.0), std::log(8.0)};

auto near(double value) { return DoubleNear(value, 1e-12); }

TEST(TokenSalience, MissingNeighbourCountsAsTheTokenItself) {
  EXPECT_THAT(token_salience(kNll, {}, 0.5, Neighbours::kSum), ElementsAre(near(4), near(7), near(10)));
}

TEST(TokenSalience, MeanHalvesTheNeighbours) {
  EXPECT_THAT(token_salience(kNll, {}, 0.5, Neighbours::kMean), ElementsAre(near(2.5), near(4.5), near(7)));
}

TEST(TokenSalience, NeighboursInAnotherRunAreNotSeen) {
  const std::vector<int32_t> span = {0, 1, 1};
  EXPECT_THAT(token_salience(kNll, span, 0.5, Neighbours::kSum), ElementsAre(near(3), near(8), near(10)));
}

TEST(TokenSalience, LambdaWeighsOwnAgainstNeighbours) {
  EXPECT_THAT(token_salience(kNll, {}, 0.0, Neighbours::kSum), ElementsAre(near(2), near(4), near(8)));
  EXPECT_THAT(token_salience(kNll, {}, 1.0, Neighbours::kSum), ElementsAre(near(6), near(10), near(12)));
}

TEST(TokenSalience, HopelessTokenGivesAFiniteNumber) {
  const std::vector<double> salience = token_salience(std::vector<double>{750, 750}, {}, 0.5, Neighbours::kSum);
  for (const double s : salience) EXPECT_TRUE(std::isfinite(s));
}

TEST(TokenSalience, OfNothingIsNothing) { EXPECT_TRUE(token_salience({}, {}, 0.5, Neighbours::kSum).empty()); }

TEST(NumKeptTokens, IsTheCeilingAndAtLeastOne) {
  EXPECT_EQ(num_kept_tokens(0.5, 5), 3);
  EXPECT_EQ(num_kept_tokens(0.7, 10), 7);
  EXPECT_EQ(num_kept_tokens(0.07, 100), 7);  // the product is 7.000000000000001
  EXPECT_EQ(num_kept_tokens(0.1, 1), 1);
  EXPECT_EQ(num_kept_tokens(1.0, 9), 9);
  EXPECT_EQ(num_kept_tokens(0.5, 0), 0);
}

const std::vector<double> kSalience = {3, 1, 2, 1};

TEST(ChooseTokens, LowestStayAndTiesGoToTheEarlierToken) {
  EXPECT_THAT(choose_tokens(kSalience, {}, TokenOrder::kLowest, 1), ElementsAre(1));
  EXPECT_THAT(choose_tokens(kSalience, {}, TokenOrder::kLowest, 3), ElementsAre(1, 2, 3));
}

TEST(ChooseTokens, ReverseKeepsTheHighest) {
  EXPECT_THAT(choose_tokens(kSalience, {}, TokenOrder::kHighest, 2), ElementsAre(0, 2));
  EXPECT_THAT(choose_tokens(kSalience, {}, TokenOrder::kHighest, 3), ElementsAre(0, 1, 2));
}

TEST(ChooseTokens, FlaggedTokensAreTakenBeforeAllOthers) {
  const std::vector<uint8_t> first = {1, 0, 0, 0};
  EXPECT_THAT(choose_tokens(kSalience, first, TokenOrder::kLowest, 2), ElementsAre(0, 1));
  EXPECT_THAT(choose_tokens(kSalience, first, TokenOrder::kLowest, 1), ElementsAre(0));
}

TEST(ChooseTokens, NumberAboveTheLengthKeepsAll) {
  EXPECT_THAT(choose_tokens(kSalience, {}, TokenOrder::kLowest, 9), ElementsAre(0, 1, 2, 3));
  EXPECT_TRUE(choose_tokens({}, {}, TokenOrder::kLowest, 1).empty());
}

TEST(ParseNeighbours, UnknownNameIsRefused) {
  EXPECT_EQ(parse_neighbours("mean"), Neighbours::kMean);
  EXPECT_THROW(parse_neighbours("average"), ConfigError);
}

}  // namespace
}  // namespace qtune
