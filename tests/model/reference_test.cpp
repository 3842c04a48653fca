// The plain twin against values of the transformers library, and the fused model against the twin.
#include "qtune/model/reference.h"

#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "support/model_fixture.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

Model training_model(const ModelFixture& fixture, at::ScalarType dtype = at::kFloat) {
  return Model::load(fixture.folder(), {.compute_dtype = dtype, .use = ModelUse::kTraining});
}

std::vector<at::Tensor> gradients_of(Model& model) {
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : model.parameters()) gradients.push_back(p.gradient.clone());
  return gradients;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class ModelReferenceTest : public testing::TestWithParam<std::string> {
 protected:
  ModelFixture fixture_{GetParam()};
};

TEST_P(ModelReferenceTest, TwinGivesTheScoresAndGradientsOfTransformers) {
  Model model = training_model(fixture_);
  const PackedTokens batch = fixture_.batch();
  const RowScores scores = forward_backward_reference(model, batch);
  EXPECT_LT(largest_difference(scores.nll_N, fixture_.targets_of("nll")), kTransformersScoreNats);
  EXPECT_LT(largest_difference(scores.entropy_N, fixture_.targets_of("entropy")), kTransformersScoreNats);
  for (const Parameter& p : model.parameters()) {
    EXPECT_LT(relative_norm(p.gradient / batch.num_targets(), fixture_.tensor("grad." + p.name)), kModelGradientNorm)
        << p.name;
  }
}

TEST_P(ModelReferenceTest, FusedModelEqualsTheTwinInFloat32) {
  Model model = training_model(fixture_);
  const PackedTokens batch = fixture_.batch();
  const RowScores expected = forward_backward_reference(model, batch);
  const std::vector<at::Tensor> gradients = gradients_of(model);
  model.zero_gradients();
  const RowScores found = model.forward_backward(batch);
  EXPECT_LT(largest_difference(found.nll_N, expected.nll_N), kModelScoreNats);
  EXPECT_LT(largest_difference(found.entropy_N, expected.entropy_N), kModelScoreNats);
  EXPECT_LT(largest_difference(found.logsumexp_N, expected.logsumexp_N), kModelScoreNats);
  for (size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_LT(relative_norm(model.parameters()[i].gradient, gradients[i]), kModelGradientNorm)
        << model.parameters()[i].name;
  }
}

TEST_P(ModelReferenceTest, FusedModelEqualsTheTwinInBFloat16) {
  Model model = training_model(fixture_, at::kBFloat16);
  const PackedTokens batch = fixture_.batch();
  const RowScores expected = forward_backward_reference(model, batch);
  const std::vector<at::Tensor> gradients = gradients_of(model);
  model.zero_gradients();
  const RowScores found = model.forward_backward(batch);
  EXPECT_LT(largest_difference(found.nll_N, expected.nll_N), kModelBFloat16ScoreNats);
  EXPECT_LT(largest_difference(found.entropy_N, expected.entropy_N), kModelBFloat16ScoreNats);
  for (size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_LT(relative_norm(model.parameters()[i].gradient, gradients[i]), kModelBFloat16GradientNorm)
        << model.parameters()[i].name;
  }
}

TEST_P(ModelReferenceTest, BFloat16IsNoFurtherFromFloat32ThanTheTwinIs) {
  const PackedTokens batch = fixture_.batch();
  Model exact = training_model(fixture_), model = training_model(fixture_, at::kBFloat16);
  exact.forward_backward(batch);
  forward_backward_reference(model, batch);
  const std::vector<at::Tensor> twin = gradients_of(model);
  model.zero_gradients();
  model.forward_backward(batch);
  for (size_t i = 0; i < twin.size(); ++i) {
    const at::Tensor& truth = exact.parameters()[i].gradient;
    EXPECT_LT(relative_norm(model.parameters()[i].gradient, truth), 2 * relative_norm(twin[i], truth))
        << model.parameters()[i].name;
  }
}

TEST_P(ModelReferenceTest, TwinAddsToTheGradients) {
  Model model = training_model(fixture_);
  forward_backward_reference(model, fixture_.batch());
  const std::vector<at::Tensor> once = gradients_of(model);
  forward_backward_reference(model, fixture_.batch());
  for (size_t i = 0; i < once.size(); ++i) {
    EXPECT_TRUE(is_close(model.parameters()[i].gradient, 2 * once[i], kElementwise)) << model.parameters()[i].name;
  }
}

TEST_P(ModelReferenceTest, TwinScoresWithoutGradientsAlike) {
  Model model = training_model(fixture_);
  EXPECT_TRUE(at::equal(score_reference(model, fixture_.batch()).nll_N,
                        forward_backward_reference(model, fixture_.batch()).nll_N));
}

INSTANTIATE_TEST_SUITE_P(Families, ModelReferenceTest, kFixtureModels, [](const auto& family) { return family.param; });

TEST(ModelReference, BatchWithoutTargetsAddsNothing) {
  Model model = training_model(ModelFixture("llama_tied"));
  PackedTokens batch = ModelFixture("llama_tied").batch();
  batch.rows_M = batch.targets_M = at::empty({0}, at::kInt);
  EXPECT_EQ(forward_backward_reference(model, batch).nll_N.numel(), 0);
  EXPECT_EQ(score_reference(model, batch).nll_N.numel(), 0);
  const at::Tensor none = at::empty({0}, at::kInt);
  EXPECT_EQ(forward_backward_reference(model, {none, none, {0}, none, none}).nll_N.numel(), 0);
  for (const Parameter& p : model.parameters()) EXPECT_EQ(p.gradient.abs().sum().item<float>(), 0) << p.name;
}

TEST(ModelReference, RefusesWhatTheFusedModelRefuses) {
  Model inference = Model::load(ModelFixture("llama_tied").folder(), {});
  PackedTokens batch = ModelFixture("llama_tied").batch();
  EXPECT_THROW(forward_backward_reference(inference, batch), Error);
  batch.ids_N = batch.ids_N.clone();
  batch.ids_N[3] = 331;
  EXPECT_THROW(score_reference(inference, batch), Error);
  EXPECT_THROW(inference.score(batch), Error);
}

}  // namespace
}  // namespace qtune
