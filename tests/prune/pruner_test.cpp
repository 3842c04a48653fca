#include "qtune/prune/pruner.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "prune/worked_example.h"
#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "qtune/prune/scores_file.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// Random samples without equal scores.
std::vector<SampleScores> random_samples(uint64_t seed, int num_samples) {
  CounterRng rng(seed, 0);
  std::vector<SampleScores> samples;
  for (int i = 0; i < num_samples; ++i) {
    std::vector<double> perplexities(1 + rng.next_below(30));
    for (double& p : perplexities) p = 1 + 10 * rng.next_unit();
    samples.push_back(sample_of(fmt::format("s{}", i), perplexities, 3 * rng.next_unit()));
  }
  return samples;
}

int64_t count_kept(const PruneDecision& decision) {
  return std::count_if(decision.samples.begin(), decision.samples.end(), [](const auto& s) { return s.kept; });
}

PrunerOptions methods(const std::string& sample, const std::string& token) {
  return {.sample_method = sample, .sample_keep = 0.25, .token_method = token, .token_keep = 0.5};
}

std::string message_of(const PrunerOptions& options) {
  try {
    make_pruner(options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

class EveryMethod : public testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  PrunerOptions options() const { return methods(GetParam().first, GetParam().second); }
};

TEST_P(EveryMethod, KeepsTheFloorOfTheShareAndSomeTokensOfEachKeptSample) {
  const Pruner pruner = make_pruner(options());
  for (const int n : {1, 2, 3, 7, 8, 31, 64}) {
    const PruneDecision decision = pruner.decide(random_samples(static_cast<uint64_t>(n), n), {.draw = 5});
    const int64_t expected = options().sample_method == "none" ? n : std::max(1, n / 4);
    EXPECT_EQ(count_kept(decision), expected) << n;
    for (const SampleDecision& sample : decision.samples) {
      EXPECT_EQ(sample.kept, !sample.kept_tokens.empty());
      EXPECT_TRUE(std::is_sorted(sample.kept_tokens.begin(), sample.kept_tokens.end()));
    }
  }
}

TEST_P(EveryMethod, PermutingTheSamplesPermutesTheDecision) {
  const Pruner pruner = make_pruner(options());
  const std::vector<SampleScores> samples = random_samples(11, 40);
  const PruneDecision before = pruner.decide(samples, {.draw = 3});
  const std::vector<int64_t> order = random_permutation(1, 2, 40);
  std::vector<SampleScores> shuffled;
  for (const int64_t i : order) shuffled.push_back(samples[static_cast<size_t>(i)]);
  const PruneDecision after = pruner.decide(shuffled, {.draw = 3});
  for (size_t i = 0; i < order.size(); ++i)
    EXPECT_EQ(to_json(after.samples[i]).dump(), to_json(before.samples[static_cast<size_t>(order[i])]).dump());
}

TEST_P(EveryMethod, NoSamplesGiveAnEmptyDecision) {
  const PruneDecision decision = make_pruner(options()).decide({}, {});
  EXPECT_TRUE(decision.samples.empty());
  EXPECT_FALSE(decision.thresholds.has_value());
}

TEST_P(EveryMethod, RefusesNonFiniteScoresAndEmptySamples) {
  const Pruner pruner = make_pruner(options());
  std::vector<SampleScores> samples = random_samples(1, 4);
  samples[2].nll[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(pruner.decide(samples, {}), NonFiniteError);
  samples[2].nll[0] = std::numeric_limits<double>::infinity();
  EXPECT_THROW(pruner.decide(samples, {}), NonFiniteError);
  samples[2] = SampleScores{.id = "empty"};
  EXPECT_THROW(pruner.decide(samples, {}), Error);
}

TEST_P(EveryMethod, RefusesArraysOfDifferentLengthsAndNegativeEntropy) {
  const Pruner pruner = make_pruner(options());
  std::vector<SampleScores> samples = {sample_of("a", {2, 3, 4}, 1)};
  samples[0].span.pop_back();
  EXPECT_THROW(pruner.decide(samples, {}), Error);
  samples = {sample_of("a", {2, 3, 4}, -1)};
  EXPECT_THROW(pruner.decide(samples, {}), Error);
}

INSTANTIATE_TEST_SUITE_P(Pairs, EveryMethod,
                         testing::Values(std::pair{"qtuning", "qtuning"}, std::pair{"qtuning", "none"},
                                         std::pair{"qtuning", "random"}, std::pair{"random", "random"},
                                         std::pair{"random", "none"}, std::pair{"none", "random"},
                                         std::pair{"longest", "none"}, std::pair{"entropy", "ppl"},
                                         std::pair{"none", "none"}));

TEST(Qtuning, AllEqualScoresKeepTheFirstSamples) {
  std::vector<SampleScores> samples;
  for (const char* id : {"a", "b", "c", "d"}) samples.push_back(sample_of(id, {2, 2}, 1));
  PrunerOptions options = methods("qtuning", "qtuning");
  options.sample_keep = 0.5;
  const PruneDecision decision = make_pruner(options).decide(samples, {});
  EXPECT_TRUE(decision.samples[0].kept && decision.samples[1].kept);
  EXPECT_EQ(count_kept(decision), 2);
  EXPECT_TRUE(decision.samples[0].supplement);
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(0, 1));  // side 0: not pruned
}

TEST(Qtuning, SupplementTokensCanBeKeptOrPruned) {
  PrunerOptions options = worked_options();
  options.supplement_tokens = SupplementTokens::kKeep;
  EXPECT_EQ(make_pruner(options).decide(worked_example(), {}).samples[0].kept_tokens.size(), 2u);
  options.supplement_tokens = SupplementTokens::kPrune;
  EXPECT_EQ(make_pruner(options).decide(worked_example(), {}).samples[4].kept_tokens.size(), 1u);
}

TEST(Qtuning, PrunedQuadrantsCanBeChosen) {
  PrunerOptions options = worked_options();
  options.pruned_quadrants = {Quadrant::kMisconception, Quadrant::kCalibration};
  EXPECT_THAT(make_pruner(options).decide(worked_example(), {}).samples[3].kept_tokens, ElementsAre(0, 2));
  options.pruned_quadrants = {};
  EXPECT_EQ(make_pruner(options).decide(worked_example(), {}).samples[1].kept_tokens.size(), 6u);
}

TEST(Qtuning, RefusesSamplesThatWereNotScored) {
  SampleScores sample{.id = "a"};
  sample.span = {0, 0};
  EXPECT_THROW(make_pruner(methods("qtuning", "none")).decide(std::vector{sample}, {}), Error);
}

TEST(NoneAndRandom, NeedNoScoresAndReportNone) {
  SampleScores sample{.id = "a"};
  sample.span = {0, 0, 1};
  for (const char* method : {"none", "random"}) {
    const Pruner pruner = make_pruner(methods(method, method));
    EXPECT_FALSE(pruner.needs_scores());
    const PruneDecision decision = pruner.decide(std::vector{sample}, {});
    EXPECT_TRUE(decision.samples[0].kept);
    EXPECT_TRUE(std::isnan(decision.samples[0].perplexity));
    EXPECT_EQ(decision.samples[0].quadrant, Quadrant::kMiddle);
    EXPECT_TRUE(to_json(decision.samples[0])["ppl"].is_null());
  }
  EXPECT_TRUE(make_pruner(methods("qtuning", "none")).needs_scores());
}

TEST(None, KeepsAllTokensAndReportsTheScoresItWasGiven) {
  const PruneDecision decision = make_pruner(methods("none", "none")).decide(worked_example(), {});
  EXPECT_EQ(count_kept(decision), 8);
  EXPECT_NEAR(decision.samples[1].perplexity, 10, 1e-12);
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_FALSE(decision.thresholds.has_value());
}

TEST(Random, DependsOnSeedAndStepAlone) {
  PrunerOptions options = methods("random", "random");
  const auto kept_at = [&](uint64_t step) {
    std::string text;
    for (const auto& s : make_pruner(options).decide(random_samples(3, 64), {.draw = step}).samples)
      text += to_json(s).dump();
    return text;
  };
  const std::string first = kept_at(1);
  EXPECT_EQ(kept_at(1), first);
  EXPECT_NE(kept_at(2), first);
  options.seed = 43;
  EXPECT_NE(kept_at(1), first);
}

TEST(Random, EverySampleIsKeptEquallyOften) {
  const Pruner pruner = make_pruner(methods("random", "none"));
  const std::vector<SampleScores> samples = random_samples(9, 8);
  std::vector<int> counts(8, 0);
  for (uint64_t step = 0; step < 4000; ++step) {
    const PruneDecision decision = pruner.decide(samples, {.draw = step});
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += decision.samples[i].kept ? 1 : 0;
  }
  // Two of eight each step: mean 1000, standard deviation sqrt(4000 * 1/4 * 3/4) = 27; five of them.
  for (const int count : counts) EXPECT_NEAR(count, 1000, 137);
}

/// Records need not have ids of their own, and two data sets may both count from 0.
TEST(Random, SamplesWithOneIdDrawApart) {
  const Pruner random = make_pruner(methods("random", "random"));
  PrunerOptions infobatch_options = methods("infobatch", "none");
  const Pruner infobatch = make_pruner(infobatch_options);
  std::vector<SampleScores> samples(16, sample_of("1", {2, 2, 2, 2, 2, 2, 2, 2}, 1));
  samples.push_back(sample_of("high", {50, 50}, 1));
  std::set<std::vector<bool>> kept_sets, kept_by_infobatch;
  std::set<std::vector<int32_t>> tokens;
  for (uint64_t step = 0; step < 20; ++step) {
    std::vector<bool> kept, others;
    for (const SampleDecision& s : random.decide(samples, {.draw = step}).samples) {
      kept.push_back(s.kept);
      if (s.kept) tokens.insert(s.kept_tokens);
    }
    for (const SampleDecision& s : infobatch.decide(samples, {.draw = step}).samples) others.push_back(s.kept);
    const auto count = std::count(others.begin(), others.end() - 1, true);
    EXPECT_GT(count, 0);
    EXPECT_LT(count, 16);
    kept_sets.insert(kept);
    kept_by_infobatch.insert(others);
  }
  EXPECT_GT(kept_sets.size(), 15U);
  EXPECT_GT(kept_by_infobatch.size(), 15U);
  EXPECT_GT(tokens.size(), 20U);
}

TEST(Random, EndOfTurnTokenIsKeptFirst) {
  const std::vector<SampleScores> samples = {sample_of("a", std::vector<double>(20, 2.0), 1)};
  PrunerOptions options = methods("none", "random");
  options.token_keep = 0.1;
  int with_rule = 0, without_rule = 0;
  for (uint64_t step = 0; step < 50; ++step) {
    options.keep_end_of_turn = true;
    with_rule += make_pruner(options).decide(samples, {.draw = step}).samples[0].kept_tokens.back() == 19 ? 1 : 0;
    options.keep_end_of_turn = false;
    without_rule += make_pruner(options).decide(samples, {.draw = step}).samples[0].kept_tokens.back() == 19 ? 1 : 0;
  }
  EXPECT_EQ(with_rule, 50);
  EXPECT_LT(without_rule, 25);
}

TEST(MakePruner, NamesTheKnownMethods) {
  const std::string message = message_of(methods("qtunning", "rho2"));
  EXPECT_THAT(message, HasSubstr("pruning.sample.method: expected one of none, random, longest, entropy, qtuning, "
                                 "infobatch, score_file, found \"qtunning\""));
  EXPECT_THAT(message, HasSubstr("did you mean qtuning?"));
  EXPECT_THAT(message, HasSubstr("pruning.token.method: expected one of none, random, ppl, qtuning, fastv, "
                                 "sparsevlm, rho1, tokencleaning, found \"rho2\""));
}

TEST(MakePruner, QtuningTokensNeedQtuningSamples) {
  EXPECT_THAT(message_of(methods("random", "qtuning")), HasSubstr("pruning.token.method: qtuning needs"));
  EXPECT_THAT(message_of(methods("none", "qtuning")), HasSubstr("pruning.token.method: qtuning needs"));
}

TEST(MakePruner, RefusesNumbersOutOfRange) {
  const auto with = [](auto change) {
    PrunerOptions options = methods("qtuning", "qtuning");
    change(options);
    return message_of(options);
  };
  EXPECT_EQ(with([](PrunerOptions&) {}), "");
  EXPECT_THAT(with([](PrunerOptions& o) { o.sample_keep = 0; }), HasSubstr("pruning.sample.keep"));
  EXPECT_THAT(with([](PrunerOptions& o) { o.token_keep = 1.01; }), HasSubstr("pruning.token.keep"));
  EXPECT_THAT(with([](PrunerOptions& o) { o.lambda = std::nan(""); }), HasSubstr("pruning.token.lambda"));
  EXPECT_THAT(with([](PrunerOptions& o) { o.iterations = 0; }), HasSubstr("pruning.iterations"));
  EXPECT_THAT(with([](PrunerOptions& o) { o.kept_quadrants = {}; }), HasSubstr("kept quadrant"));
}

}  // namespace
}  // namespace qtune
