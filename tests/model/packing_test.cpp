// Samples packed end to end against each sample alone, and gradients against finite differences.
#include <gtest/gtest.h>

#include "qtune/model/model.h"
#include "support/model_fixture.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

/// One sample of a packed batch, as a batch of its own.
PackedTokens sample_of(const PackedTokens& batch, size_t index) {
  const int32_t start = batch.cu_seqlens[index], end = batch.cu_seqlens[index + 1];
  const at::Tensor mine = (batch.rows_M >= start) & (batch.rows_M < end);
  return {.ids_N = batch.ids_N.narrow(0, start, end - start).clone(),
          .positions_N = batch.positions_N.narrow(0, start, end - start).clone(),
          .cu_seqlens = {0, end - start},
          .rows_M = (batch.rows_M.masked_select(mine) - start).to(at::kInt),
          .targets_M = batch.targets_M.masked_select(mine)};
}

/// The same samples with empty ones before, between and behind.
PackedTokens with_empty_samples(PackedTokens batch) {
  std::vector<int32_t> cu_seqlens{0};
  for (const int32_t offset : batch.cu_seqlens) cu_seqlens.insert(cu_seqlens.end(), {offset, offset});
  batch.cu_seqlens = cu_seqlens;
  return batch;
}

class PackingTest : public testing::TestWithParam<std::string> {
 protected:
  ModelFixture fixture_{GetParam()};
};

TEST_P(PackingTest, PackedSamplesScoreAsEachAlone) {
  Model model = Model::load(fixture_.folder(), {});
  const PackedTokens batch = fixture_.batch();
  std::vector<at::Tensor> nll, entropy;
  for (size_t b = 0; b < 3; ++b) {
    const RowScores alone = model.score(sample_of(batch, b));
    nll.push_back(alone.nll_N);
    entropy.push_back(alone.entropy_N);
  }
  const RowScores packed = model.score(batch);
  // Products of more rows are summed in another order: float32 sums, through three layers.
  EXPECT_LT((packed.nll_N - at::cat(nll)).abs().max().item<double>(), 2e-5);
  EXPECT_LT((packed.entropy_N - at::cat(entropy)).abs().max().item<double>(), 2e-5);
}

TEST_P(PackingTest, EmptySamplesChangeNothing) {
  Model model = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  const PackedTokens batch = fixture_.batch();
  EXPECT_TRUE(at::equal(model.score(with_empty_samples(batch)).nll_N, model.score(batch).nll_N));
  EXPECT_TRUE(at::equal(model.forward_backward(with_empty_samples(batch)).nll_N, model.score(batch).nll_N));
}

TEST_P(PackingTest, GradientsOfAPackAreTheSumOverItsSamples) {
  Model packed = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  Model one_by_one = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  const PackedTokens batch = fixture_.batch();
  packed.forward_backward(batch);
  for (size_t b = 0; b < 3; ++b) one_by_one.forward_backward(sample_of(batch, b));
  for (size_t i = 0; i < packed.parameters().size(); ++i) {
    EXPECT_LT(relative_norm(packed.parameters()[i].gradient, one_by_one.parameters()[i].gradient), kModelGradientNorm)
        << packed.parameters()[i].name;
  }
}

TEST_P(PackingTest, EarlierBatchesLeaveNoTrace) {
  // Buffers are reused: a large batch before a small one must not change its bits.
  Model model = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  const PackedTokens batch = fixture_.batch(), small = sample_of(batch, 1);
  const at::Tensor nll = model.forward_backward(small).nll_N;
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : model.parameters()) gradients.push_back(p.gradient.clone());
  model.score(batch);
  model.forward_backward(batch);
  model.zero_gradients();
  EXPECT_TRUE(at::equal(model.forward_backward(small).nll_N, nll));
  for (size_t i = 0; i < gradients.size(); ++i) {
    EXPECT_TRUE(at::equal(model.parameters()[i].gradient, gradients[i])) << model.parameters()[i].name;
  }
}

TEST_P(PackingTest, GradientsEqualFiniteDifferences) {
  Model model = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  const PackedTokens batch = fixture_.batch();
  model.forward_backward(batch);
  const auto loss = [&] {
    model.refresh_compute_weights();
    return model.score(batch).nll_N.to(at::kDouble).sum().item<double>();
  };
  for (Parameter& p : model.parameters()) {
    // Along the gradient itself the difference is largest, so that float32's noise in the loss is smallest beside it:
    // the step aims at a change of 2 nats of about 500, known to about 1e-4.
    const at::Tensor before = p.master.clone();
    const double norm = p.gradient.norm().item<double>();
    const auto difference = [&](double share) {
      const double step = share / (norm * norm);
      p.master.copy_(before + step * p.gradient);
      const double above = loss();
      p.master.copy_(before - step * p.gradient);
      const double below = loss();
      p.master.copy_(before);
      return (above - below) / (2 * share);
    };
    // Two steps take the third derivative out (Richardson): where the gradient is small the step is a long one.
    EXPECT_NEAR((4 * difference(0.5) - difference(1)) / 3, 1, 1e-2) << p.name;
  }
}

TEST_P(PackingTest, BatchWithoutTargetsOrTokensIsEmpty) {
  Model model = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  PackedTokens batch = fixture_.batch();
  const at::Tensor none = at::empty({0}, at::kInt);
  batch.rows_M = batch.targets_M = none;
  EXPECT_EQ(model.score(batch).nll_N.numel(), 0);
  EXPECT_EQ(model.forward_backward(batch).nll_N.numel(), 0);
  const PackedTokens nothing{none, none, {0}, none, none};
  EXPECT_EQ(model.score(nothing).nll_N.numel(), 0);
  EXPECT_EQ(model.forward_backward(nothing).nll_N.numel(), 0);
  for (const Parameter& p : model.parameters()) EXPECT_EQ(p.gradient.abs().sum().item<float>(), 0) << p.name;
}

INSTANTIATE_TEST_SUITE_P(Families, PackingTest, kFixtureModels, [](const auto& family) { return family.param; });

TEST(Model, TextsLongerThanThePositionsOfTheConfigAreComputed) {
  Model model = Model::load(ModelFixture("llama_tied").folder(), {});
  const int64_t n = 600;
  const PackedTokens batch{.ids_N = at::arange(n, at::kInt) % 331,
                           .positions_N = at::arange(n, at::kInt),
                           .cu_seqlens = {0, static_cast<int32_t>(n)},
                           .rows_M = at::tensor({598}, at::kInt),
                           .targets_M = at::tensor({7}, at::kInt)};
  EXPECT_TRUE(model.score(batch).nll_N.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace qtune
