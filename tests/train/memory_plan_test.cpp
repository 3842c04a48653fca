#include "../../src/train/memory_plan.h"

#include <gtest/gtest.h>

#include "support/model_fixture.h"
#include "support/training_job.h"

namespace qtune {
namespace {

const Arguments kTwoSteps = {"max_steps=2", "save_strategy=steps", "save_steps=2"};

TEST(MemoryPlan, CheckpointingIsNeededWhereNineTenthsOfTheMemoryDoNotHoldTheEstimate) {
  const ModelConfig model = read_model_config(ModelFixture("llama_tied").folder());
  const TrainingShape shape{.num_tokens = 2000, .num_targets = 1000};
  const int64_t total = estimate_training_memory(model, shape).total();
  EXPECT_TRUE(needs_gradient_checkpointing(model, shape, total));
  EXPECT_FALSE(needs_gradient_checkpointing(model, shape, total / 9 * 10 + 100));
}

TEST(MemoryPlan, CheckpointingSavesAllLayersButOneOfWhatTheyKeep) {
  const ModelConfig model = read_model_config(ModelFixture("llama_tied").folder());
  TrainingShape shape{.num_tokens = 2000, .num_targets = 1000};
  const MemoryEstimate kept = estimate_training_memory(model, shape);
  shape.gradient_checkpointing = true;
  const MemoryEstimate again = estimate_training_memory(model, shape);
  const int64_t inputs = shape.num_tokens * model.num_layers * model.hidden_size * 4;
  EXPECT_EQ(kept.activations - inputs, model.num_layers * (again.activations - inputs));
  EXPECT_EQ(kept.total() - again.total(), kept.activations - again.activations);
}

TEST(MemoryPlan, ARunWithCheckpointingEndsWithTheSameBits) {
  const TrainingJob job;
  job.write_data(random_samples(24, 3));
  for (const Arguments& more : {Arguments{}, kQtuningHalf, Arguments{"bf16=true"}}) {
    job.run("kept", kTwoSteps + more + Arguments{"gradient_checkpointing=false", "overwrite_output_dir=true"});
    job.run("again", kTwoSteps + more + Arguments{"gradient_checkpointing=true", "overwrite_output_dir=true"});
    EXPECT_EQ(job.weights("kept", 2), job.weights("again", 2));
  }
}

TEST(MemoryPlan, DryRunSaysThatTheEstimateIsWithCheckpointing) {
  const TrainingJob job;
  job.write_data(random_samples(24, 3));
  const std::string with = job.run("run", {"dry_run=true", "gradient_checkpointing=true"}).out;
  EXPECT_NE(with.find("(gradient checkpointing)"), std::string::npos);
  EXPECT_EQ(job.run("run", {"dry_run=true"}).out.find("(gradient checkpointing)"), std::string::npos);
}

}  // namespace
}  // namespace qtune
