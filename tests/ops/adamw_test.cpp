#include "qtune/ops/adamw.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "qtune/ops/reference.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

/// Tensors with odd sizes, one larger than a thread's share, one empty; with and without decay and a bfloat16 copy.
std::vector<AdamWTensor> make_tensors() {
  std::vector<AdamWTensor> tensors;
  for (const auto& shape : std::vector<std::vector<int64_t>>{{331, 65}, {7}, {1, 1}, {70'001}, {0, 3}}) {
    const bool bfloat16 = tensors.size() % 2 == 0;
    tensors.push_back({.value = random_values(shape, at::kFloat, tensors.size()),
                       .gradient = at::zeros(shape),
                       .exp_avg = at::zeros(shape),
                       .exp_avg_sq = at::zeros(shape),
                       .compute = bfloat16 ? poisoned(shape, at::kBFloat16) : at::Tensor(),
                       .weight_decay = shape.size() >= 2 ? 0.5 : 0.0});
  }
  return tensors;
}

TEST(AdamW, EqualsItsTwinOverSeveralSteps) {
  const std::vector<AdamWTensor> found = make_tensors(), expected = make_tensors();
  for (int64_t step = 1; step <= 6; ++step) {
    for (size_t i = 0; i < found.size(); ++i) {
      // Sizes from 1e-6 to 1e3, so that epsilon matters for some.
      const at::Tensor gradient =
          random_values(found[i].value.sizes(), at::kFloat, 100 * step + i, std::pow(10.0, 1.5 * step - 6));
      found[i].gradient.copy_(gradient);
      expected[i].gradient.copy_(gradient);
    }
    const AdamWStep s{.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .gradient_scale = 0.125, .step = step};
    adamw(found, s);
    adamw_reference(expected, s);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_TRUE(is_close(found[i].exp_avg, expected[i].exp_avg, kElementwise)) << i << " step " << step;
      EXPECT_TRUE(is_close(found[i].exp_avg_sq, expected[i].exp_avg_sq, kElementwise)) << i << " step " << step;
      EXPECT_TRUE(is_close(found[i].value, expected[i].value, kElementwise)) << i << " step " << step;
      if (found[i].compute.defined()) {
        EXPECT_TRUE(at::equal(found[i].compute, found[i].value.to(at::kBFloat16))) << i << " step " << step;
      }
    }
  }
}

TEST(AdamW, FirstStepMovesByTheLearningRateAgainstTheGradient) {
  // Bias correction makes m / sqrt(v) the gradient's sign in step 1.
  const at::Tensor value = at::tensor({1.0f, 1.0f}), gradient = at::tensor({3.0f, -200.0f});
  adamw({{.value = value, .gradient = gradient, .exp_avg = at::zeros({2}), .exp_avg_sq = at::zeros({2})}},
        {.learning_rate = 0.1});
  EXPECT_TRUE(is_close(value, at::tensor({0.9f, 1.1f}), kElementwise));
}

TEST(AdamW, DecayIsTakenFromTheValueNotFromTheGradient) {
  const at::Tensor value = at::tensor({2.0f});
  adamw({{.value = value,
          .gradient = at::zeros({1}),
          .exp_avg = at::zeros({1}),
          .exp_avg_sq = at::zeros({1}),
          .weight_decay = 0.5}},
        {.learning_rate = 0.1});
  EXPECT_NEAR(value.item<double>(), 2 * (1 - 0.1 * 0.5), 1e-6);
}

TEST(AdamW, ZeroLearningRateChangesStateOnly) {
  const at::Tensor value = random_values({331}, at::kFloat, 1), before = value.clone(), exp_avg = at::zeros({331});
  adamw({{.value = value,
          .gradient = at::ones({331}),
          .exp_avg = exp_avg,
          .exp_avg_sq = at::zeros({331}),
          .weight_decay = 0.5}},
        {.learning_rate = 0});
  EXPECT_TRUE(at::equal(value, before));
  EXPECT_GT(exp_avg.min().item<float>(), 0.09f);
}

TEST(AdamW, StateOfAnotherShapeOrDtypeThrows) {
  const at::Tensor value = at::zeros({3});
  EXPECT_THROW(adamw({{.value = value, .gradient = at::zeros({4}), .exp_avg = value, .exp_avg_sq = value}}, {}), Error);
  EXPECT_THROW(
      adamw({{.value = value, .gradient = at::zeros({3}, at::kBFloat16), .exp_avg = value, .exp_avg_sq = value}}, {}),
      Error);
}

TEST(GlobalNorm, EqualsItsTwinAcrossBlocks) {
  const std::vector<at::Tensor> tensors{random_values({331, 65}, at::kFloat, 1),
                                        random_values({200'001}, at::kFloat, 2), at::zeros({0, 3}),
                                        random_values({1}, at::kFloat, 3)};
  EXPECT_NEAR(global_norm(tensors) / global_norm_reference(tensors), 1, 1e-12) << "both sum in float64";
  EXPECT_EQ(global_norm({}), 0);
}

TEST(GlobalNorm, SurvivesSquaresThatFloat32CannotHold) {
  EXPECT_NEAR(global_norm({at::full({4}, 1e30f)}) / 2e30, 1, 1e-6);
  EXPECT_NEAR(global_norm({at::full({4}, 1e-30f)}) / 2e-30, 1, 1e-6);
}

TEST(GlobalNorm, NonFiniteGradientShows) {
  EXPECT_FALSE(std::isfinite(global_norm({at::zeros({3}), at::tensor({1.0f, std::nanf("")})})));
  EXPECT_FALSE(std::isfinite(global_norm({at::tensor({-INFINITY})})));
}

TEST(ClipFactor, BringsLargeNormsDownAndLeavesSmallOnes) {
  EXPECT_DOUBLE_EQ(clip_factor(4.0, 1.0), 1.0 / (4.0 + 1e-6));
  EXPECT_DOUBLE_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_DOUBLE_EQ(clip_factor(0.0, 1.0), 1.0);
  // As torch.nn.utils.clip_grad_norm_: a norm of just max_norm is scaled by a hair.
  EXPECT_DOUBLE_EQ(clip_factor(1.0, 1.0), 1.0 / (1.0 + 1e-6));
}

TEST(ClipFactor, ZeroMeansNoClipping) { EXPECT_DOUBLE_EQ(clip_factor(1e9, 0.0), 1.0); }

}  // namespace
}  // namespace qtune
