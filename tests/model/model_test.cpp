// Against values of the transformers library (tests/data/models, float32): scores, gradients, logits.
#include "qtune/model/model.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/model_fixture.h"

namespace qtune {
namespace {

class ModelFixtureTest : public testing::TestWithParam<std::string> {};

TEST_P(ModelFixtureTest, ScoresEqualTransformers) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {});
  const RowScores scores = model.score(fixture.batch());
  EXPECT_LT((scores.nll_N - fixture.targets_of("nll")).abs().max().item<double>(), 1e-4);
  EXPECT_LT((scores.entropy_N - fixture.targets_of("entropy")).abs().max().item<double>(), 1e-4);
}

TEST_P(ModelFixtureTest, GradientsOfMeanLossEqualTransformers) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {.use = ModelUse::kTraining});
  const PackedTokens batch = fixture.batch();
  model.forward_backward(batch);
  for (const Parameter& p : model.parameters()) {
    const at::Tensor expected = fixture.tensor("grad." + p.name);
    const at::Tensor found = p.gradient / batch.num_targets();
    EXPECT_LT(((found - expected).norm() / expected.norm()).item<double>(), 1e-3) << p.name;
  }
}

TEST_P(ModelFixtureTest, TrainingPassAndScorePassGiveTheSameBits) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {.use = ModelUse::kTraining});
  EXPECT_TRUE(at::equal(model.score(fixture.batch()).nll_N, model.forward_backward(fixture.batch()).nll_N));
}

TEST_P(ModelFixtureTest, CachedGenerationGivesTheLogitsOfTheFullPass) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {});
  const at::Tensor ids = fixture.tensor("input_ids")[2], logits = fixture.tensor("logits")[2];
  std::vector<int32_t> prompt;
  for (int k = 0; k < 20; ++k) prompt.push_back(ids[k].item<int32_t>());
  KeyValueCache cache = model.make_cache(60);
  EXPECT_LT((model.next_token_logits(prompt, cache) - logits[19]).abs().max().item<double>(), 1e-3);
  for (int k = 20; k < 60; ++k) {
    const at::Tensor found = model.next_token_logits({ids[k].item<int32_t>()}, cache);
    EXPECT_LT((found - logits[k]).abs().max().item<double>(), 1e-3) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ModelFixtureTest, kFixtureModels, [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
