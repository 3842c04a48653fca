#include "qtune/optim/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "qtune/ops/reference.h"
#include "support/model_fixture.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

Model training_model(const std::string& name, at::ScalarType dtype = at::kFloat) {
  return Model::load(ModelFixture(name).folder(), {.compute_dtype = dtype, .use = ModelUse::kTraining});
}

bool is_matrix(const Parameter& p) { return p.master.dim() == 2; }

class OptimizerFixtureTest : public testing::TestWithParam<std::string> {};

/// Six steps on the fixture's batch with its settings: learning rate 1e-3, decay 0.5 on matrices, clipping at 1.
TEST_P(OptimizerFixtureTest, LossesAndNormsOfSixStepsEqualTransformers) {
  const ModelFixture fixture(GetParam());
  Model model = training_model(GetParam());
  Optimizer optimizer(model, {.weight_decay = 0.5});
  const PackedTokens batch = fixture.batch();
  const double num_targets = static_cast<double>(batch.num_targets());
  for (int64_t step = 0; step < 6; ++step) {
    model.zero_gradients();
    const at::Tensor nll_N = model.forward_backward(batch).nll_N;
    const double loss = nll_N.to(at::kDouble).mean().item<double>();
    optimizer.update(1e-3, 1 / num_targets, 1.0, nll_N);
    const double norm = optimizer.finish_update();
    EXPECT_NEAR(loss / fixture.tensor("full_losses")[step].item<double>(), 1, 2e-5) << step;
    EXPECT_NEAR(norm / fixture.tensor("full_grad_norms")[step].item<double>(), 1, 2e-4) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, OptimizerFixtureTest, kFixtureModels,
                         [](const auto& family) { return family.param; });

class OptimizerDtypeTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(OptimizerDtypeTest, UpdatesEqualThePlainTwin) {
  Model model = training_model("llama_untied", GetParam());
  Optimizer optimizer(model, {.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1});
  std::vector<AdamWTensor> twin;
  for (const Parameter& p : model.parameters()) {
    twin.push_back({.value = p.master.clone(),
                    .gradient = p.gradient,
                    .exp_avg = at::zeros(p.master.sizes()),
                    .exp_avg_sq = at::zeros(p.master.sizes()),
                    .weight_decay = is_matrix(p) ? 0.1 : 0.0});
  }
  for (int64_t step = 1; step <= 4; ++step) {
    model.zero_gradients();
    const at::Tensor nll_N = model.forward_backward(ModelFixture("llama_untied").batch()).nll_N;
    optimizer.update(1e-3, 0.02, 0.0, nll_N);
    EXPECT_TRUE(std::isfinite(optimizer.finish_update()));
    adamw_reference(
        twin,
        {.learning_rate = 1e-3, .beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .gradient_scale = 0.02, .step = step});
    EXPECT_EQ(optimizer.num_updates(), step);
    for (size_t i = 0; i < twin.size(); ++i) {
      const Parameter& p = model.parameters()[i];
      EXPECT_TRUE(is_close(p.master, twin[i].value, kElementwise)) << p.name << " step " << step;
      EXPECT_TRUE(is_close(optimizer.state()[i].exp_avg, twin[i].exp_avg, kElementwise)) << p.name << " step " << step;
      EXPECT_TRUE(at::equal(p.compute, p.master.to(p.compute.scalar_type()))) << p.name << " step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, OptimizerDtypeTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype.param == at::kFloat ? "Float32" : "BFloat16"; });

TEST(Optimizer, DecayTouchesMatricesAndEmbeddingsOnly) {
  Model model = training_model("llama_untied");
  std::vector<at::Tensor> before;
  for (const Parameter& p : model.parameters()) before.push_back(p.master.clone());
  Optimizer optimizer(model, {.weight_decay = 0.5});
  model.zero_gradients();
  optimizer.update(0.1, 1.0, 0.0, at::zeros({0}));
  EXPECT_EQ(optimizer.finish_update(), 0);
  for (size_t i = 0; i < before.size(); ++i) {
    const Parameter& p = model.parameters()[i];
    EXPECT_EQ(is_matrix(p), p.name.find("norm") == std::string::npos) << p.name;
    EXPECT_TRUE(is_close(p.master, before[i] * (is_matrix(p) ? 0.95 : 1.0), kElementwise)) << p.name;
  }
}

TEST(Optimizer, StateIsNamedAndShapedAsTheParameters) {
  Model model = training_model("llama_tied");
  Optimizer optimizer(model, {});
  ASSERT_EQ(optimizer.state().size(), model.parameters().size());
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    EXPECT_EQ(optimizer.state()[i].name, model.parameters()[i].name);
    EXPECT_EQ(optimizer.state()[i].exp_avg.sizes(), model.parameters()[i].master.sizes());
    EXPECT_TRUE(at::equal(optimizer.state()[i].exp_avg_sq, at::zeros(model.parameters()[i].master.sizes())));
  }
}

/// A resumed run sets the number of updates: bias correction must go on from there.
TEST(Optimizer, ResumedCountContinuesBiasCorrection) {
  Model whole = training_model("llama_tied"), resumed = training_model("llama_tied");
  Optimizer first(whole, {.weight_decay = 0.5}), second(resumed, {.weight_decay = 0.5});
  const PackedTokens batch = ModelFixture("llama_tied").batch();
  const auto step = [&](Model& model, Optimizer& optimizer) {
    model.zero_gradients();
    const at::Tensor nll_N = model.forward_backward(batch).nll_N;
    optimizer.update(1e-3, 0.01, 0.0, nll_N);
    optimizer.finish_update();
  };
  step(whole, first);
  for (size_t i = 0; i < first.state().size(); ++i) {
    resumed.parameters()[i].master.copy_(whole.parameters()[i].master);
    second.state()[i].exp_avg.copy_(first.state()[i].exp_avg);
    second.state()[i].exp_avg_sq.copy_(first.state()[i].exp_avg_sq);
  }
  second.set_num_updates(first.num_updates());
  resumed.refresh_compute_weights();
  step(whole, first);
  step(resumed, second);
  for (size_t i = 0; i < first.state().size(); ++i) {
    EXPECT_TRUE(at::equal(whole.parameters()[i].master, resumed.parameters()[i].master)) << first.state()[i].name;
  }
}

/// Neither a gradient nor a loss that is not finite may reach the weights, and bias correction does not count it.
TEST(Optimizer, WhatIsNotFiniteChangesNothing) {
  for (const bool in_gradient : {true, false}) {
    Model model = training_model("llama_tied");
    Optimizer optimizer(model, {.weight_decay = 0.5});
    model.zero_gradients();
    at::Tensor nll_N = model.forward_backward(ModelFixture("llama_tied").batch()).nll_N.clone();
    std::vector<at::Tensor> before;
    for (const Parameter& p : model.parameters()) before.push_back(p.master.clone());
    (in_gradient ? model.parameters()[3].gradient.view({-1}) : nll_N)[0] = in_gradient ? NAN : INFINITY;
    optimizer.update(1e-3, 0.01, 1.0, nll_N);
    EXPECT_FALSE(std::isfinite(optimizer.finish_update()));
    EXPECT_EQ(optimizer.num_updates(), 0);
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_TRUE(at::equal(model.parameters()[i].master, before[i]));
      EXPECT_TRUE(at::equal(optimizer.state()[i].exp_avg, at::zeros_like(before[i])));
    }
  }
}

}  // namespace
}  // namespace qtune
