#include "qtune/model/memory_estimate.h"

#include <gtest/gtest.h>

#include "qtune/model/model.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

class MemoryEstimateTest : public testing::TestWithParam<std::string> {};

TEST_P(MemoryEstimateTest, CountsWeightsAndGradientsAsTheyAreAllocated) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Model model = Model::load(ModelFixture(GetParam()).folder(), {.compute_dtype = dtype, .use = ModelUse::kTraining});
    int64_t weights = 0, gradients = 0, norms = 0;
    for (const Parameter& p : model.parameters()) {
      weights += static_cast<int64_t>(p.master.nbytes());
      if (p.compute.data_ptr() != p.master.data_ptr()) weights += static_cast<int64_t>(p.compute.nbytes());
      if (p.master.dim() == 1) norms += p.master.numel();
      gradients += static_cast<int64_t>(p.gradient.nbytes());
    }
    // The estimate does not tell norm weights, which have no bfloat16 copy, from the others.
    if (dtype == at::kBFloat16) weights += 2 * norms;
    const MemoryEstimate m =
        estimate_training_memory(model.config(), {.compute_dtype = dtype, .num_tokens = 100, .num_targets = 50});
    EXPECT_EQ(m.weights, weights);
    EXPECT_EQ(m.gradients, gradients);
    EXPECT_EQ(m.optimizer, 2 * gradients);
  }
}

TEST_P(MemoryEstimateTest, CountsAFrozenModelOnce) {
  const ModelFixture fixture(GetParam());
  const LoraConfig lora{.targets = lora_targets({"all"})};
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    Model model = Model::load(
        fixture.folder(),
        {.compute_dtype = dtype, .use = ModelUse::kTraining, .adapter = AdapterOptions{.folder = {}, .config = lora}});
    int64_t weights = 0, gradients = 0;
    for (const Parameter& p : model.base_parameters()) weights += p.compute.numel() * (dtype == at::kFloat ? 4 : 2);
    for (const Parameter& p : model.parameters()) {
      weights += static_cast<int64_t>(p.master.nbytes());
      if (p.compute.data_ptr() != p.master.data_ptr()) weights += static_cast<int64_t>(p.compute.nbytes());
      gradients += static_cast<int64_t>(p.gradient.nbytes());
    }
    const MemoryEstimate m = estimate_training_memory(
        model.config(), {.compute_dtype = dtype, .num_tokens = 100, .num_targets = 50, .lora = lora});
    EXPECT_EQ(m.weights, weights);
    EXPECT_EQ(m.gradients, gradients);
    EXPECT_EQ(m.optimizer, 2 * gradients);
  }
}

TEST_P(MemoryEstimateTest, ActivationsGrowWithTokensAlone) {
  const ModelConfig config = read_model_config(ModelFixture(GetParam()).folder());
  const MemoryEstimate one = estimate_training_memory(config, {.num_tokens = 100, .num_targets = 50});
  const MemoryEstimate two = estimate_training_memory(config, {.num_tokens = 200, .num_targets = 50});
  EXPECT_EQ(two.activations, 2 * one.activations);
  EXPECT_EQ(two.weights, one.weights);
}

INSTANTIATE_TEST_SUITE_P(Families, MemoryEstimateTest, kFixtureModels, [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
