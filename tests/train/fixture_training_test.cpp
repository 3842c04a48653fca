// `qtune train` against the losses and gradient norms of six steps with transformers and torch's AdamW
// (tests/data/models).
#include <gtest/gtest.h>

#include "support/fixture_samples.h"
#include "support/model_fixture.h"
#include "support/training_job.h"

namespace qtune {
namespace {

class FixtureTraining : public testing::TestWithParam<std::string> {};

TEST_P(FixtureTraining, SixStepsGiveTheLossesAndGradientNormsOfTransformers) {
  const ModelFixture fixture(GetParam());
  TrainingJob job(GetParam());
  job.write_data(samples_of(fixture));
  job.run("out", {"per_device_train_batch_size=3", "gradient_accumulation_steps=1", "max_steps=6", "learning_rate=1e-3",
                  "lr_scheduler_type=constant", "weight_decay=0.5"});
  const at::Tensor losses = fixture.tensor("full_losses"), norms = fixture.tensor("full_grad_norms");
  const auto metrics = job.metrics("out");
  ASSERT_EQ(metrics.size(), 6U);
  for (int64_t i = 0; i < 6; ++i) {
    const auto& step = metrics[static_cast<size_t>(i)];
    const double loss = losses[i].item<double>(), norm = norms[i].item<double>();
    EXPECT_NEAR(step.at("loss"), loss, 2e-5 * loss) << "step " << i + 1;
    EXPECT_NEAR(step.at("grad_norm"), norm, 2e-4 * norm) << "step " << i + 1;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, FixtureTraining, kFixtureModels, [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
