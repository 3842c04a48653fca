// The score pass and a decision's apply step, on the fixtures' values of the transformers library.
#include "qtune/score/score_pass.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "qtune/batch/pack.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

std::vector<TokenizedSample> samples_of(const ModelFixture& fixture) {
  const at::Tensor ids = fixture.tensor("input_ids"), labels = fixture.tensor("labels");
  const at::Tensor lengths = fixture.tensor("lengths");
  std::vector<TokenizedSample> samples;
  for (int64_t b = 0; b < ids.size(0); ++b) {
    TokenizedSample& s = samples.emplace_back();
    s.id.record = "s" + std::to_string(b);
    for (int64_t k = 0; k < lengths[b].item<int64_t>(); ++k) {
      s.input_ids.push_back(ids[b][k].item<int32_t>());
      s.trained.push_back(labels[b][k].item<int64_t>() != -100);
      s.end_of_turn.push_back(0);
    }
  }
  return samples;
}

class ScorePassFixture : public testing::TestWithParam<std::string> {};

TEST_P(ScorePassFixture, NllAndEntropyEqualTransformersForEveryMicroBatch) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {});
  const std::vector<TokenizedSample> samples = samples_of(fixture);
  const at::Tensor nll = fixture.tensor("nll"), entropy = fixture.tensor("entropy");
  for (const int64_t micro_batch : {1, 2, 5}) {
    const std::vector<SampleScores> scores = score_pass(model, pointers_to(samples), micro_batch);
    ASSERT_EQ(scores.size(), samples.size());
    for (size_t b = 0; b < scores.size(); ++b) {
      const SampleScores& s = scores[b];
      ASSERT_EQ(s.nll.size(), s.positions.size());
      for (size_t k = 0; k < s.nll.size(); ++k) {
        const auto at = [&](const at::Tensor& t) { return t[static_cast<int64_t>(b)][s.positions[k]].item<double>(); };
        EXPECT_NEAR(s.nll[k], at(nll), 1e-4);
        EXPECT_NEAR(s.entropy[k], at(entropy), 1e-4);
      }
    }
  }
}

TEST_P(ScorePassFixture, DroppedTokensGiveTheNllOfTheShortenedText) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {});
  const std::vector<TokenizedSample> samples = samples_of(fixture);
  const at::Tensor stay = fixture.tensor("dropped_positions"), ids = fixture.tensor("dropped_ids")[0];
  const at::Tensor expected = fixture.tensor("dropped_nll")[0];

  const std::vector<int32_t> positions = trainable_positions(samples[0]);
  std::vector<int32_t> kept;
  for (size_t k = 0; k < positions.size(); ++k) {
    if ((stay == positions[k]).any().item<bool>()) kept.push_back(static_cast<int32_t>(k));
  }
  ASSERT_LT(kept.size(), positions.size());
  PruneDecision decision;
  decision.samples = {{.id = "s0", .kept = true, .kept_tokens = kept}};
  const TokenizedSample* only[] = {&samples[0]};
  const std::vector<PackedSample> packed = kept_samples(only, decision, TokenMode::kDrop);

  // The shortened text without its last token, which is predicted but not read.
  ASSERT_EQ(packed.size(), 1U);
  ASSERT_EQ(static_cast<int64_t>(packed[0].input_ids.size()) + 1, ids.size(0));
  for (size_t i = 0; i < packed[0].input_ids.size(); ++i) {
    EXPECT_EQ(packed[0].input_ids[i], ids[static_cast<int64_t>(i)].item<int64_t>());
  }
  EXPECT_EQ(packed[0].targets.back(), ids[-1].item<int64_t>());
  const RowScores scores = model.score(pack(packed));
  for (size_t i = 0; i < packed[0].rows.size(); ++i) {
    EXPECT_NEAR(scores.nll_N[static_cast<int64_t>(i)].item<double>(), expected[packed[0].rows[i] + 1].item<double>(),
                1e-4);
  }
}

TEST(ScorePass, SampleWithoutTrainedTokensGetsEmptyArrays) {
  const ModelFixture fixture("llama_tied");
  Model model = Model::load(fixture.folder(), {});
  std::vector<TokenizedSample> samples = samples_of(fixture);
  std::fill(samples[1].trained.begin(), samples[1].trained.end(), 0);
  const std::vector<SampleScores> scores = score_pass(model, pointers_to(samples), 3);
  EXPECT_TRUE(scores[1].nll.empty());
  EXPECT_TRUE(scores[1].positions.empty());
  EXPECT_FALSE(scores[2].nll.empty());
}

INSTANTIATE_TEST_SUITE_P(Families, ScorePassFixture, kFixtureModels, [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
