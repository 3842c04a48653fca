#include "prune/worked_example.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/prune/sample_selection.h"

namespace qtune {
namespace {

using testing::ElementsAre;

const std::vector<double> kPerplexity = {9, 10, 2, 3, 4, 6, 8, 5};
const std::vector<double> kEntropy = {1.75, 1.1, 1.0, 2.0, 1.5, 1.6, 1.4, 1.7};

struct Round {
  int number;
  double alpha;
  Thresholds thresholds;
  std::vector<const char*> quadrants;
};

const std::vector<Round> kRounds = {
    {1,
     0.245,
     {.ppl_hi = 9, .ppl_lo = 3, .ent_lo = 1.1, .ent_hi = 1.75},
     {"Q1", "Q2", "Q3", "Q4", "mid", "mid", "mid", "mid"}},
    {2,
     0.3675,
     {.ppl_hi = 8, .ppl_lo = 4, .ent_lo = 1.4, .ent_hi = 1.7},
     {"Q1", "Q2", "Q3", "Q4", "mid", "mid", "Q2", "mid"}},
    {3,
     0.42875,
     {.ppl_hi = 6, .ppl_lo = 5, .ent_lo = 1.5, .ent_hi = 1.6},
     {"Q1", "Q2", "Q3", "Q4", "Q3", "Q1", "Q2", "Q4"}},
    {10,
     0.489521484375,
     {.ppl_hi = 6, .ppl_lo = 5, .ent_lo = 1.5, .ent_hi = 1.6},
     {"Q1", "Q2", "Q3", "Q4", "Q3", "Q1", "Q2", "Q4"}},
};

TEST(WorkedExample, BisectionRoundsAreThoseOfTheDocs) {
  for (const Round& round : kRounds) {
    SCOPED_TRACE(round.number);
    const Partition got = bisect_thresholds(kPerplexity, kEntropy, {.keep = 0.75, .iterations = round.number});
    EXPECT_DOUBLE_EQ(got.thresholds.alpha, round.alpha);
    EXPECT_EQ(got.thresholds.beta, got.thresholds.alpha);
    EXPECT_EQ(got.thresholds.ppl_hi, round.thresholds.ppl_hi);
    EXPECT_EQ(got.thresholds.ppl_lo, round.thresholds.ppl_lo);
    EXPECT_EQ(got.thresholds.ent_lo, round.thresholds.ent_lo);
    EXPECT_EQ(got.thresholds.ent_hi, round.thresholds.ent_hi);
    std::vector<std::string> names;
    for (const Quadrant quadrant : got.quadrants) names.emplace_back(quadrant_name(quadrant));
    EXPECT_THAT(names, testing::ElementsAreArray(round.quadrants));
  }
}

TEST(WorkedExample, SidesAreThoseOfTheDocs) {
  const std::vector<double> expected = {0.125, 0.9, 0.0, -0.875, -0.25, -0.1, 0.35, -0.325};
  const std::vector<double> sides = sides_of(kPerplexity, kEntropy);
  for (size_t i = 0; i < sides.size(); ++i) EXPECT_NEAR(sides[i], expected[i], 1e-12) << i;
}

TEST(WorkedExample, SalienceIsThatOfTheDocs) {
  const SampleScores b = worked_example()[1];
  const std::vector<double> salience = token_salience(b.nll, b.span, 0.5, Neighbours::kSum);
  const std::vector<double> expected = {7, 29.5, 37, 40, 17.5, 10};
  for (size_t k = 0; k < salience.size(); ++k) EXPECT_NEAR(salience[k], expected[k], 1e-12) << k;
}

struct Fate {
  const char* id;
  const char* quadrant;
  bool kept, supplement;
  std::vector<int32_t> kept_tokens;
};

const std::vector<Fate> kFates = {
    {"a", "Q1", true, true, {1}},         // supplement, side > 0: pruned; its end of turn stays
    {"b", "Q2", true, false, {0, 4, 5}},  // Q2: pruned
    {"c", "Q3", false, false, {}},        //
    {"d", "Q4", true, false, {0, 1, 2}},  // Q4: whole
    {"e", "Q3", true, true, {0, 1}},      // supplement, side < 0: whole
    {"f", "Q1", false, false, {}},        //
    {"g", "Q2", true, false, {1}},        // Q2: pruned to its end of turn
    {"h", "Q4", true, false, {0, 1}},     //
};

TEST(WorkedExample, FatesAreThoseOfTheDocs) {
  const PruneDecision decision = make_pruner(worked_options()).decide(worked_example(), {});
  ASSERT_EQ(decision.samples.size(), kFates.size());
  for (size_t i = 0; i < kFates.size(); ++i) {
    SCOPED_TRACE(kFates[i].id);
    EXPECT_EQ(decision.samples[i].id, kFates[i].id);
    EXPECT_STREQ(quadrant_name(decision.samples[i].quadrant), kFates[i].quadrant);
    EXPECT_EQ(decision.samples[i].kept, kFates[i].kept);
    EXPECT_EQ(decision.samples[i].supplement, kFates[i].supplement);
    EXPECT_EQ(decision.samples[i].kept_tokens, kFates[i].kept_tokens);
  }
}

TEST(WorkedExample, WithoutTheEndOfTurnRuleTheEasiestTokenStays) {
  PrunerOptions options = worked_options();
  options.keep_end_of_turn = false;
  const PruneDecision decision = make_pruner(options).decide(worked_example(), {});
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(0));
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(0, 4, 5));
}

}  // namespace
}  // namespace qtune
