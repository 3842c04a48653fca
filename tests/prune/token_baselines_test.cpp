// ppl, rho1, tokencleaning and the attention methods on hand-worked cases.
#include "qtune/prune/token_baselines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "prune/worked_example.h"
#include "qtune/base/error.h"

namespace qtune {
namespace {

using testing::ElementsAre;

PrunerOptions token_method(const std::string& name, double keep = 0.5) {
  return {.sample_method = "none", .token_method = name, .token_keep = keep, .keep_end_of_turn = false};
}

std::vector<int32_t> kept_of(const PrunerOptions& options, const SampleScores& sample) {
  return make_pruner(options).decide(std::vector{sample}, {}).samples[0].kept_tokens;
}

TEST(Ppl, TheLowestStayAndTheEarlierOfEqualOnes) {
  const SampleScores b = sample_of("b", {5, 4, 50, 20, 10, 5}, 1.1);
  EXPECT_THAT(kept_of(token_method("ppl"), b), ElementsAre(0, 1, 5));
  EXPECT_THAT(kept_of(token_method("ppl", 2.0 / 6), b), ElementsAre(0, 1));
}

TEST(Ppl, ReverseKeepsTheHighest) {
  PrunerOptions options = token_method("ppl");
  options.reverse = true;
  EXPECT_THAT(kept_of(options, sample_of("b", {5, 4, 50, 20, 10, 5}, 1.1)), ElementsAre(2, 3, 4));
}

TEST(Ppl, EndOfTurnStaysFirst) {
  PrunerOptions options = token_method("ppl", 0.25);
  options.keep_end_of_turn = true;
  EXPECT_THAT(kept_of(options, sample_of("a", {2, 3, 4, 99}, 1)), ElementsAre(3));
}

TEST(Ppl, ActsOnEveryKeptSample) {
  PrunerOptions options = token_method("ppl");
  options.sample_method = "qtuning";
  options.sample_keep = 1;
  for (const SampleDecision& s : make_pruner(options).decide(worked_example(), {}).samples) {
    EXPECT_EQ(s.kept_tokens.size(), s.id == "b" ? 3U : s.id == "d" ? 2U : 1U) << s.id;
  }
}

/// nll 3 1 4 1, reference 1 1 1 3: excess 2 0 3 -2.
SampleScores with_reference() {
  SampleScores s = sample_of("r", {1, 1, 1, 1}, 1);
  s.nll = {3, 1, 4, 1};
  s.reference_nll = {1, 1, 1, 3};
  return s;
}

TEST(Rho1, TheHighestExcessLossStays) {
  EXPECT_THAT(excess_loss(with_reference()), ElementsAre(2, 0, 3, -2));
  EXPECT_THAT(kept_of(token_method("rho1"), with_reference()), ElementsAre(0, 2));
  EXPECT_THAT(kept_of(token_method("rho1", 0.25), with_reference()), ElementsAre(2));
}

TEST(Rho1, NeedsItsOwnAndTheReferencesScores) {
  const Pruner pruner = make_pruner(token_method("rho1"));
  EXPECT_THAT(pruner.needed_arrays(),
              ElementsAre(&SampleScores::nll, &SampleScores::entropy, &SampleScores::reference_nll));
  EXPECT_THROW(pruner.decide(std::vector{sample_of("a", {2, 3}, 1)}, {}), Error);
}

/// A sample of tokencleaning alone: it has no scores of the model in training.
SampleScores of_two_models(const std::string& id, std::vector<double> base, std::vector<double> reference) {
  SampleScores s{.id = id};
  s.span.assign(base.size(), 0);
  s.end_of_turn.assign(base.size(), 0);
  s.end_of_turn.back() = 1;
  s.base_nll = std::move(base);
  s.reference_nll = std::move(reference);
  return s;
}

std::vector<SampleScores> two_samples() {
  return {of_two_models("x", {5, 4, 3, 3}, {1, 1, 1, 2}),     // influence 4 3 2 1
          of_two_models("y", {2, 2, 2, 2}, {0, 4, 3, 5.5})};  // influence 2 -2 -1 -3.5
}

TEST(TokenCleaning, TokensOfAllSamplesAreRankedTogether) {
  const PruneDecision decision = make_pruner(token_method("tokencleaning")).decide(two_samples(), {});
  // Half of eight: 4 3 2 of x, and of y's 2 and x's 2 both.
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(0, 1, 2));
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(0));
  EXPECT_FALSE(make_pruner(token_method("tokencleaning")).needs_scores());
}

TEST(TokenCleaning, TiesGoToTheEarlierSample) {
  // Three of eight: 4, 3 and one of the two 2, but y keeps its best anyway.
  const PruneDecision decision = make_pruner(token_method("tokencleaning", 3.0 / 8)).decide(two_samples(), {});
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(0, 1));
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(0));
  const std::vector<std::vector<double>> equal = {{1, 1}, {1, 1}};
  EXPECT_THAT(choose_over_samples(equal, {}, TokenOrder::kHighest, 0.75),
              ElementsAre(ElementsAre(0, 1), ElementsAre(0)));
}

TEST(TokenCleaning, EverySampleKeepsItsBestTokenWhateverTheShare) {
  const PruneDecision decision = make_pruner(token_method("tokencleaning", 0.01)).decide(two_samples(), {});
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(0));
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(0));
}

TEST(TokenCleaning, EndOfTurnStaysFirst) {
  PrunerOptions options = token_method("tokencleaning");
  options.keep_end_of_turn = true;
  const PruneDecision decision = make_pruner(options).decide(two_samples(), {});
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(0, 1, 3));
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(3));
}

TEST(TokenCleaning, ReverseKeepsTheLowestInfluence) {
  PrunerOptions options = token_method("tokencleaning");
  options.reverse = true;
  const PruneDecision decision = make_pruner(options).decide(two_samples(), {});
  EXPECT_THAT(decision.samples[0].kept_tokens, ElementsAre(3));
  EXPECT_THAT(decision.samples[1].kept_tokens, ElementsAre(1, 2, 3));
}

TEST(AttentionMethods, TheMostAttentionStays) {
  SampleScores sample{.id = "a"};
  sample.span = {0, 0, 1, 1};
  sample.attention = {0.1, 0.3, 0.3, 0.0};
  for (const char* method : {"fastv", "sparsevlm"}) {
    EXPECT_THAT(kept_of(token_method(method), sample), ElementsAre(1, 2));
    EXPECT_THAT(kept_of(token_method(method, 0.25), sample), ElementsAre(1));
    EXPECT_FALSE(make_pruner(token_method(method)).needs_scores());
    EXPECT_THAT(make_pruner(token_method(method)).needed_arrays(), ElementsAre(&SampleScores::attention));
  }
}

TEST(AttentionMethods, RefuseAttentionThatIsNoNumber) {
  SampleScores sample{.id = "a"};
  sample.span = {0, 0};
  sample.attention = {0.1, std::nan("")};
  EXPECT_THROW(make_pruner(token_method("fastv")).decide(std::vector{sample}, {}), NonFiniteError);
  sample.attention = {0.1};
  EXPECT_THROW(make_pruner(token_method("fastv")).decide(std::vector{sample}, {}), Error);
}

}  // namespace
}  // namespace qtune
