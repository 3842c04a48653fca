#include <gtest/gtest.h>

#include "qtune/model/model.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

struct Pass {
  at::Tensor nll;
  std::vector<at::Tensor> gradients;
};

/// Two passes, of different batches: buffers of the first are used again.
std::vector<Pass> train(const ModelFixture& fixture, ModelOptions options, bool gradient_checkpointing) {
  options.use = ModelUse::kTraining;
  options.gradient_checkpointing = gradient_checkpointing;
  Model model = Model::load(fixture.folder(), options);
  at::manual_seed(7);
  for (Parameter& p : model.parameters()) {
    if (p.name.ends_with("lora_B.weight")) p.master.normal_(0, 0.05);
  }
  model.refresh_compute_weights();
  PackedTokens shorter = fixture.batch();
  const int32_t end = shorter.cu_seqlens[2];
  shorter.cu_seqlens.resize(3);
  shorter.ids_N = shorter.ids_N.narrow(0, 0, end);
  shorter.positions_N = shorter.positions_N.narrow(0, 0, end);
  const int64_t rows = (shorter.rows_M < end).sum().item<int64_t>();
  shorter.rows_M = shorter.rows_M.narrow(0, 0, rows);
  shorter.targets_M = shorter.targets_M.narrow(0, 0, rows);
  std::vector<Pass> passes;
  for (const PackedTokens& batch : {fixture.batch(), shorter}) {
    model.zero_gradients();
    Pass pass{.nll = model.forward_backward(batch).nll_N, .gradients = {}};
    for (const Parameter& p : model.parameters()) pass.gradients.push_back(p.gradient.clone());
    passes.push_back(std::move(pass));
  }
  return passes;
}

class GradientCheckpointing : public testing::TestWithParam<std::string> {
 protected:
  void expect_the_same_bits(const ModelOptions& options) {
    const ModelFixture fixture(GetParam());
    const std::vector<Pass> kept = train(fixture, options, false), again = train(fixture, options, true);
    for (size_t i = 0; i < kept.size(); ++i) {
      EXPECT_TRUE(at::equal(kept[i].nll, again[i].nll));
      ASSERT_EQ(kept[i].gradients.size(), again[i].gradients.size());
      for (size_t k = 0; k < kept[i].gradients.size(); ++k) {
        EXPECT_GT(kept[i].gradients[k].norm().item<double>(), 0) << k;
        EXPECT_TRUE(at::equal(kept[i].gradients[k], again[i].gradients[k])) << k;
      }
    }
  }
  static AdapterOptions adapter() {
    return {.folder = {}, .config = {.rank = 4, .dropout = 0.2, .targets = lora_targets({"all"})}, .seed = 3};
  }
};

TEST_P(GradientCheckpointing, GradientsHaveTheSameBits) { expect_the_same_bits({}); }

TEST_P(GradientCheckpointing, GradientsHaveTheSameBitsInBFloat16) {
  expect_the_same_bits({.compute_dtype = at::kBFloat16});
}

TEST_P(GradientCheckpointing, AnAdaptersGradientsHaveTheSameBitsWithDropout) {
  expect_the_same_bits({.adapter = adapter()});
  expect_the_same_bits({.compute_dtype = at::kBFloat16, .adapter = adapter()});
}

INSTANTIATE_TEST_SUITE_P(Families, GradientCheckpointing, kFixtureModels,
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
