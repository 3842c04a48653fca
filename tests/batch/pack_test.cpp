#include "qtune/batch/pack.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Ids 10, 11, ...; trained where `trained` has an x. T(x) of ".xx.xxx." is 1 2 4 5 6.
TokenizedSample sample(const std::string& trained) {
  TokenizedSample s{.id = {.file = "f", .line = 1, .record = "s"}};
  for (size_t i = 0; i < trained.size(); ++i) {
    s.input_ids.push_back(static_cast<int32_t>(10 + i));
    s.trained.push_back(trained[i] == 'x');
    s.end_of_turn.push_back(0);
  }
  return s;
}

PackedSample apply(const TokenizedSample& s, const std::vector<int32_t>& kept, TokenMode mode) {
  return apply_decision(s, kept, mode);
}

TEST(AllTargets, RowsAreThePositionsBeforeTheTrainedTokens) {
  const PackedSample p = all_targets(sample(".xx.xxx."));
  EXPECT_THAT(p.input_ids, ElementsAre(10, 11, 12, 13, 14, 15));
  EXPECT_THAT(p.rows, ElementsAre(0, 1, 3, 4, 5));
  EXPECT_THAT(p.targets, ElementsAre(11, 12, 14, 15, 16));
}

TEST(AllTargets, FirstTokenIsNoTarget) {
  const PackedSample p = all_targets(sample("xx"));
  EXPECT_THAT(p.input_ids, ElementsAre(10));
  EXPECT_THAT(p.rows, ElementsAre(0));
  EXPECT_THAT(p.targets, ElementsAre(11));
}

TEST(AllTargets, SampleWithoutTrainedTokensIsEmpty) {
  const PackedSample p = all_targets(sample("x..."));
  EXPECT_THAT(p.input_ids, IsEmpty());
  EXPECT_THAT(p.rows, IsEmpty());
}

TEST(ApplyDecision, MaskKeepsPrunedTokensAsContext) {
  const PackedSample p = apply(sample(".xx.xxx."), {0, 3}, TokenMode::kMask);
  EXPECT_THAT(p.input_ids, ElementsAre(10, 11, 12, 13, 14));
  EXPECT_THAT(p.rows, ElementsAre(0, 4));
  EXPECT_THAT(p.targets, ElementsAre(11, 15));
}

TEST(ApplyDecision, NothingBehindTheLastKeptTokenIsInTheInput) {
  for (const TokenMode mode : {TokenMode::kMask, TokenMode::kDrop}) {
    EXPECT_THAT(apply(sample(".xx.xxx."), {0}, mode).input_ids, ElementsAre(10));
  }
}

TEST(ApplyDecision, DropTakesPrunedTokensOutAndKeepsTheTextBetween) {
  const PackedSample p = apply(sample(".xx.xxx."), {0, 3, 4}, TokenMode::kDrop);
  EXPECT_THAT(p.input_ids, ElementsAre(10, 11, 13, 15));
  EXPECT_THAT(p.rows, ElementsAre(0, 2, 3));
  EXPECT_THAT(p.targets, ElementsAre(11, 15, 16));
}

TEST(ApplyDecision, DropNeverTakesTheFirstTokenOut) {
  const PackedSample p = apply(sample("xxx"), {1}, TokenMode::kDrop);
  EXPECT_THAT(p.input_ids, ElementsAre(10));
  EXPECT_THAT(p.rows, ElementsAre(0));
  EXPECT_THAT(p.targets, ElementsAre(12));
}

TEST(ApplyDecision, NoKeptTokenGivesAnEmptySample) {
  for (const TokenMode mode : {TokenMode::kMask, TokenMode::kDrop}) {
    const PackedSample p = apply(sample(".xx."), {}, mode);
    EXPECT_THAT(p.input_ids, IsEmpty());
    EXPECT_THAT(p.rows, IsEmpty());
    EXPECT_THAT(p.targets, IsEmpty());
  }
}

TEST(ApplyDecision, IndexOutsideTheTrainedTokensIsAnErrorNamingTheSample) {
  for (const int32_t index : {-1, 2}) {
    try {
      apply(sample(".xx."), {0, index}, TokenMode::kMask);
      ADD_FAILURE() << index;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), HasSubstr("s: kept token " + std::to_string(index)));
    }
  }
}

TEST(Pack, SamplesLieEndToEndWithPositionsCountedAnew) {
  const std::vector<PackedSample> samples = {all_targets(sample(".xx")), PackedSample{}, all_targets(sample("..x"))};
  const PackedTokens p = pack(samples);
  const auto values = [](const at::Tensor& t) {
    return std::vector<int32_t>(t.data_ptr<int32_t>(), t.data_ptr<int32_t>() + t.numel());
  };
  EXPECT_THAT(p.cu_seqlens, ElementsAre(0, 2, 2, 4));
  EXPECT_THAT(values(p.ids_N), ElementsAre(10, 11, 10, 11));
  EXPECT_THAT(values(p.positions_N), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(values(p.rows_M), ElementsAre(0, 1, 3));
  EXPECT_THAT(values(p.targets_M), ElementsAre(11, 12, 12));
}

TEST(KeptSamples, RejectedSamplesAreLeftOutAndTheOrderStays) {
  const TokenizedSample a = sample(".x"), b = sample(".xx"), c = sample(".xxx");
  const TokenizedSample* samples[] = {&c, &b, &a};
  PruneDecision decision;
  decision.samples = {
      {.id = "c", .kept = true, .kept_tokens = {2}}, {.id = "b"}, {.id = "a", .kept = true, .kept_tokens = {0}}};
  const std::vector<PackedSample> kept = kept_samples(samples, decision, TokenMode::kMask);
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_THAT(kept[0].targets, ElementsAre(13));
  EXPECT_THAT(kept[1].targets, ElementsAre(11));
}

TEST(KeptSamples, WeightsOfTheDecisionGoToEachOfASamplesTargets) {
  const TokenizedSample a = sample(".xx"), b = sample(".x");
  const TokenizedSample* samples[] = {&a, &b};
  PruneDecision decision;
  decision.samples = {{.id = "a", .kept = true, .weight = 2, .kept_tokens = {0, 1}},
                      {.id = "b", .kept = true, .kept_tokens = {0}}};
  const at::Tensor weights = pack(kept_samples(samples, decision, TokenMode::kMask)).weights_M;
  EXPECT_TRUE(at::equal(weights, at::tensor({2.0F, 2.0F, 1.0F})));
}

TEST(Pack, HasNoWeightsWhereAllAreOne) {
  const PackedSample samples[] = {all_targets(sample(".xx"))};
  EXPECT_FALSE(pack(samples).weights_M.defined());
}

TEST(KeptSamples, DecisionOfAnotherLengthIsAnError) {
  const TokenizedSample a = sample(".x");
  const TokenizedSample* samples[] = {&a};
  EXPECT_THROW(kept_samples(samples, PruneDecision{}, TokenMode::kMask), Error);
}

}  // namespace
}  // namespace qtune
