// longest, entropy, score_file and infobatch on hand-worked cases.
#include "qtune/prune/sample_baselines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>

#include "prune/worked_example.h"
#include "qtune/base/error.h"
#include "qtune/prune/ratings.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> kept_ids(const PruneDecision& decision) {
  std::vector<std::string> ids;
  for (const SampleDecision& s : decision.samples) {
    if (s.kept) ids.push_back(s.id);
  }
  return ids;
}

PrunerOptions sample_method(const std::string& name, double keep = 0.5) {
  return {.sample_method = name, .sample_keep = keep};
}

std::vector<std::string> kept_by(const PrunerOptions& options, const std::vector<SampleScores>& samples) {
  return kept_ids(make_pruner(options).decide(samples, {}));
}

TEST(Longest, KeepsTheMostTrainableTokensAndTheEarlierOfEqualOnes) {
  // Tokens: a 2, b 6, c 2, d 3, e 2, f 1, g 2, h 2. Half of eight: b, d, then the first two with two tokens.
  EXPECT_THAT(kept_by(sample_method("longest"), worked_example()), ElementsAre("a", "b", "c", "d"));
}

TEST(Longest, NeedsNoScores) {
  SampleScores one{.id = "one"}, two{.id = "two"};
  one.span = {0};
  two.span = {0, 0};
  EXPECT_FALSE(make_pruner(sample_method("longest")).needs_scores());
  EXPECT_THAT(kept_by(sample_method("longest"), {one, two}), ElementsAre("two"));
}

TEST(EntropyMethod, KeepsTheHighestMeanEntropyAndTheEarlierOfEqualOnes) {
  // Entropies: a 1.75, b 1.1, c 1.0, d 2.0, e 1.5, f 1.6, g 1.4, h 1.7.
  EXPECT_THAT(kept_by(sample_method("entropy"), worked_example()), ElementsAre("a", "d", "f", "h"));
  std::vector<SampleScores> equal = worked_example();
  for (SampleScores& s : equal) s.entropy.assign(s.entropy.size(), 1.0);
  EXPECT_THAT(kept_by(sample_method("entropy", 0.25), equal), ElementsAre("a", "b"));
  EXPECT_TRUE(make_pruner(sample_method("entropy")).needs_scores());
}

class RatedSamples : public testing::Test {
 protected:
  PrunerOptions options(const std::string& text, double keep = 0.5) const {
    std::ofstream(path()) << text;
    PrunerOptions o = sample_method("score_file", keep);
    o.score_file = path();
    return o;
  }
  std::string error_of(const std::string& text) const {
    try {
      make_pruner(options(text));
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }
  std::string path() const { return (folder_ / "r.jsonl").string(); }

  TempDir folder_;
};

std::vector<SampleScores> named(const std::vector<std::string>& ids) {
  std::vector<SampleScores> samples;
  for (const std::string& id : ids) samples.push_back(sample_of(id, {2, 3}, 1));
  return samples;
}

TEST_F(RatedSamples, HigherIsBetterAndTheEarlierOfEqualOnesStays) {
  const std::string ratings =
      "{\"id\": \"x\", \"score\": 2.5, \"why\": \"...\"}\n\n{\"id\": \"a.jsonl:3\", \"score\": 4}\n"
      "{\"score\": 2.5, \"id\": \"z\"}\n{\"id\": \"w\", \"score\": -1e3}\n";
  EXPECT_THAT(kept_by(options(ratings), named({"w", "x", "z", "a.jsonl:3"})), ElementsAre("x", "a.jsonl:3"));
}

TEST_F(RatedSamples, ANumberAsIdStandsForItsDigits) {
  EXPECT_THAT(kept_by(options("{\"id\": 7, \"score\": 1}\n{\"id\": \"8\", \"score\": 2}\n"), named({"7", "8"})),
              ElementsAre("8"));
}

TEST_F(RatedSamples, ASampleWithoutAScoreIsNamedWithItsPlace) {
  const Pruner pruner = make_pruner(options("{\"id\": \"x\", \"score\": 1}\n"));
  EXPECT_NO_THROW(pruner.check_sample("x", "d.jsonl:1"));
  try {
    pruner.check_sample("y", "d.jsonl:2");
    FAIL();
  } catch (const DataError& e) {
    EXPECT_THAT(e.what(), HasSubstr(path() + ": expected a score for every sample, found none for \"y\" (d.jsonl:2)"));
  }
  EXPECT_THROW(pruner.decide(named({"x", "y"}), {}), DataError);
}

TEST_F(RatedSamples, APathWrittenOtherwiseIsNamedBesideTheExpectedId) {
  const Pruner pruner =
      make_pruner(options("{\"id\": \"test/my.jsonl:11\", \"score\": 1}\n{\"id\": \"my.jsonl:1\", \"score\": 1}\n"));
  const auto error = [&](const std::string& id) -> std::string {
    try {
      pruner.check_sample(id, "");
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(error("./my.jsonl:1"), HasSubstr("found none for \"./my.jsonl:1\", but one for \"my.jsonl:1\" ---> "));
  EXPECT_THAT(error("train/my.jsonl:2"), HasSubstr("found none for \"train/my.jsonl:2\" ---> rate it"));
}

TEST_F(RatedSamples, FaultsOfTheFileAreNamedByLine) {
  const std::string good = "{\"id\": \"x\", \"score\": 1}\n";
  EXPECT_THAT(error_of(good + "{\"id\": \"x\", \"score\": 2}\n"),
              HasSubstr("r.jsonl:2: expected every id once, found \"x\" again, first in line 1"));
  EXPECT_THAT(error_of(good + "{\"id\": \"y\", \"score\": NaN}\n"), HasSubstr("r.jsonl:2: expected a JSON object"));
  EXPECT_THAT(error_of(good + "{\"id\": \"y\", \"score\": null}\n"), HasSubstr("r.jsonl:2: expected score: a finite"));
  EXPECT_THAT(error_of(good + "{\"id\": \"y\", \"score\": 1e999}\n"), HasSubstr("r.jsonl:2: expected"));
  EXPECT_THAT(error_of(good + "{\"id\": \"y\"}\n"), HasSubstr("r.jsonl:2: expected a score, found none"));
  EXPECT_THAT(error_of("{\"score\": 1}\n"), HasSubstr("r.jsonl:1: expected an id, found none"));
  EXPECT_THAT(error_of("[1]\n"), HasSubstr("r.jsonl:1: expected a JSON object, found array"));
  EXPECT_THAT(error_of("\n"), HasSubstr("r.jsonl: expected ratings, found none"));
  EXPECT_THROW(Ratings("/nowhere/r.jsonl"), DataError);
}

/// Samples with these losses: one token each.
std::vector<SampleScores> with_losses(const std::vector<double>& losses) {
  std::vector<SampleScores> samples;
  for (size_t i = 0; i < losses.size(); ++i) {
    samples.push_back(sample_of("s" + std::to_string(i), {1.0}, 1));
    samples.back().nll = {losses[i]};
  }
  return samples;
}

TEST(InfoBatch, OnlySamplesBelowTheMeanAreDroppedAndThoseThatStayAreScaled) {
  // Mean of 1, 2, 3, 6 is 3: the third is not below it.
  const std::vector<SampleScores> samples = with_losses({1, 2, 3, 6});
  const Pruner pruner = make_pruner(sample_method("infobatch"));
  int kept_low = 0;
  for (uint64_t draw = 0; draw < 64; ++draw) {
    const PruneDecision decision = pruner.decide(samples, {.draw = draw});
    for (const size_t i : {2, 3}) {
      EXPECT_TRUE(decision.samples[i].kept);
      EXPECT_EQ(decision.samples[i].weight, 1);
    }
    for (const size_t i : {0, 1}) {
      EXPECT_EQ(decision.samples[i].weight, decision.samples[i].kept ? 2 : 1);
      kept_low += decision.samples[i].kept ? 1 : 0;
    }
    EXPECT_EQ(decision.loss_tokens, 4) << "tokens of all, whoever is kept";
  }
  EXPECT_GT(kept_low, 0);
  EXPECT_LT(kept_low, 128);
}

TEST(InfoBatch, TheShareThatIsDroppedIsThePruneProbability) {
  constexpr int kDraws = 4000;
  std::vector<double> losses(20, 1.0);
  losses.resize(25, 5.0);  // mean 1.8: the first twenty are below it
  PrunerOptions options = sample_method("infobatch");
  for (const double r : {0.5, 0.2}) {
    options.prune_probability = r;
    const Pruner pruner = make_pruner(options);
    const std::vector<SampleScores> samples = with_losses(losses);
    int dropped = 0;
    for (uint64_t draw = 0; draw < kDraws; ++draw) {
      for (const SampleDecision& s : pruner.decide(samples, {.draw = draw}).samples) dropped += s.kept ? 0 : 1;
    }
    const double n = 20.0 * kDraws;
    EXPECT_NEAR(dropped / n, r, 3 * std::sqrt(r * (1 - r) / n)) << r;
  }
}

TEST(InfoBatch, EachSamplesExpectedWeightIsOne) {
  constexpr int kDraws = 4000;
  const std::vector<double> losses = {0.5, 1.5, 1.9, 2.0, 4.0};  // mean 1.98
  PrunerOptions options = sample_method("infobatch");
  options.prune_probability = 0.25;
  const Pruner pruner = make_pruner(options);
  std::vector<double> sums(losses.size(), 0);
  for (uint64_t draw = 0; draw < kDraws; ++draw) {
    const PruneDecision decision = pruner.decide(with_losses(losses), {.draw = draw});
    for (size_t i = 0; i < losses.size(); ++i) {
      sums[i] += decision.samples[i].kept ? decision.samples[i].weight : 0;
    }
  }
  // A weight is 4/3 with probability 3/4: variance 1/3.
  for (const double sum : sums) EXPECT_NEAR(sum / kDraws, 1, 3 * std::sqrt(1.0 / 3 / kDraws));
}

TEST(InfoBatch, NothingIsDroppedInTheLastPartOfTraining) {
  const std::vector<SampleScores> samples = with_losses({1, 1, 1, 1, 1, 1, 1, 9});
  const Pruner pruner = make_pruner(sample_method("infobatch"));
  const auto num_kept = [&](double progress) {
    return kept_ids(pruner.decide(samples, {.draw = 3, .progress = progress})).size();
  };
  EXPECT_LT(num_kept(0.87), 8U);
  EXPECT_EQ(num_kept(0.875), 8U);
  for (const SampleDecision& s : pruner.decide(samples, {.progress = 0.9}).samples) EXPECT_EQ(s.weight, 1);
}

TEST(InfoBatch, EqualLossesAreAllKept) {
  // The sum of three 0.1 is above 0.3: without care their mean would be above each of them.
  for (uint64_t draw = 0; draw < 16; ++draw) {
    EXPECT_THAT(kept_ids(make_pruner(sample_method("infobatch")).decide(with_losses({0.1, 0.1, 0.1}), {.draw = draw})),
                ElementsAre("s0", "s1", "s2"));
  }
}

TEST(InfoBatch, AnOrderOfSamplesChangesNoDraw) {
  const Pruner pruner = make_pruner(sample_method("infobatch"));
  std::vector<SampleScores> samples = with_losses({1, 1, 1, 1, 1, 1, 1, 9});
  std::vector<std::string> before = kept_ids(pruner.decide(samples, {.draw = 2}));
  std::reverse(samples.begin(), samples.end());
  std::vector<std::string> after = kept_ids(pruner.decide(samples, {.draw = 2}));
  std::reverse(after.begin(), after.end());
  EXPECT_EQ(before, after);
}

TEST(InfoBatch, TheCountOfTheLossIsThatOfTheTokensThatAllSamplesWouldTrain) {
  std::vector<SampleScores> samples = {sample_of("low", {1, 1, 1, 1}, 1), sample_of("high", {9, 9, 9}, 1)};
  PrunerOptions options = sample_method("infobatch");
  options.token_method = "ppl";
  for (uint64_t draw = 0; draw < 8; ++draw) {
    EXPECT_EQ(make_pruner(options).decide(samples, {.draw = draw}).loss_tokens, 2 + 2);
  }
}

TEST(LossTokens, AreTheKeptOnesOfEveryOtherMethod) {
  PrunerOptions options = sample_method("longest", 0.25);
  options.token_method = "ppl";
  const PruneDecision decision = make_pruner(options).decide(worked_example(), {});
  EXPECT_EQ(decision.loss_tokens, 3 + 2);  // half of b's six and of d's three
  EXPECT_EQ(make_pruner(options).decide({}, {}).loss_tokens, 0);
}

TEST(SampleBaselines, RefuseNumbersOutOfRange) {
  const auto message = [](auto change) {
    PrunerOptions o = sample_method("infobatch");
    change(o);
    try {
      make_pruner(o);
    } catch (const ConfigError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(message([](PrunerOptions&) {}), IsEmpty());
  EXPECT_THAT(message([](PrunerOptions& o) { o.prune_probability = 1; }), HasSubstr("prune_probability"));
  EXPECT_THAT(message([](PrunerOptions& o) { o.anneal_from = std::nan(""); }), HasSubstr("anneal_from"));
  EXPECT_THAT(message([](PrunerOptions& o) { o.sample_method = "score_file"; }),
              HasSubstr("pruning.sample.score_file"));
}

}  // namespace
}  // namespace qtune
