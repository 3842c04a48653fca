// InfoBatch on a model: the expected gradient of its step is that of training on all samples.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "qtune/base/rng.h"
#include "qtune/batch/pack.h"
#include "qtune/prune/pruner.h"
#include "qtune/score/score_pass.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

constexpr double kPruneProbability = 0.5;

std::vector<TokenizedSample> random_samples() {
  std::vector<TokenizedSample> samples;
  for (uint64_t i = 0; i < 10; ++i) {
    CounterRng rng(17, i);
    TokenizedSample& s = samples.emplace_back();
    s.id.record = "s" + std::to_string(i);
    for (uint64_t k = 0; k < 8 + i; ++k) {
      s.input_ids.push_back(static_cast<int32_t>(rng.next_below(331)));
      s.trained.push_back(k >= 3);
      s.end_of_turn.push_back(k + 1 == 8 + i);
    }
  }
  return samples;
}

at::Tensor all_gradients(Model& model) {
  std::vector<at::Tensor> flat;
  for (const Parameter& p : model.parameters()) flat.push_back(p.gradient.view({-1}));
  return at::cat(flat).to(at::kDouble);
}

class InfoBatchGradient : public testing::Test {
 protected:
  InfoBatchGradient() : samples_(random_samples()), scores_(score_pass(model_, pointers_to(samples_), 4)) {}

  PrunerOptions options(const std::string& tokens) const {
    return {.sample_method = "infobatch", .token_method = tokens, .prune_probability = kPruneProbability};
  }

  /// The gradient that a step with this decision hands to the optimizer.
  at::Tensor gradient_of(const PruneDecision& decision) {
    model_.zero_gradients();
    const std::vector<PackedSample> kept = kept_samples(pointers_to(samples_), decision, TokenMode::kMask);
    model_.forward_backward(pack(kept));
    return all_gradients(model_) / static_cast<double>(decision.loss_tokens);
  }

  /// Squared distance of the mean over `draws` steps to training on all, and what chance makes of it.
  void expect_unbiased(const std::string& tokens) {
    constexpr int kDraws = 150;
    PrunerOptions all = options(tokens);
    all.sample_method = "none";
    const at::Tensor full = gradient_of(make_pruner(all).decide(scores_, {}));
    const Pruner pruner = make_pruner(options(tokens));
    at::Tensor sum = at::zeros_like(full), unweighted_sum = at::zeros_like(full);
    double sum_of_squares = 0;
    for (uint64_t draw = 0; draw < kDraws; ++draw) {
      PruneDecision decision = pruner.decide(scores_, {.draw = draw});
      const at::Tensor gradient = gradient_of(decision);
      sum += gradient;
      sum_of_squares += (gradient - full).square().sum().item<double>();
      for (SampleDecision& s : decision.samples) s.weight = 1;
      unweighted_sum += gradient_of(decision);
    }
    // The mean of n draws lies a variance / n away on average; that is a sum of many squares, far below nine times it.
    const double expected = sum_of_squares / kDraws / kDraws;
    EXPECT_LT((sum / kDraws - full).square().sum().item<double>(), 9 * expected);
    EXPECT_GT((unweighted_sum / kDraws - full).square().sum().item<double>(), 9 * expected) << "the test can tell";
  }

  ModelFixture fixture_{"llama_tied"};
  Model model_ = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  std::vector<TokenizedSample> samples_;
  std::vector<SampleScores> scores_;
};

TEST_F(InfoBatchGradient, IsUnbiasedOverManyDraws) { expect_unbiased("none"); }

TEST_F(InfoBatchGradient, IsUnbiasedWithTokensPrunedToo) { expect_unbiased("ppl"); }

TEST_F(InfoBatchGradient, OfOneStepIsTheWeightedSumOfItsSamples) {
  const PruneDecision decision = make_pruner(options("none")).decide(scores_, {.draw = 1});
  at::Tensor expected = at::zeros_like(all_gradients(model_));
  int64_t count = 0;
  bool has_weights = false;
  for (size_t i = 0; i < samples_.size(); ++i) {
    count += scores_[i].num_tokens();
    if (!decision.samples[i].kept) continue;
    model_.zero_gradients();
    const PackedSample alone[] = {all_targets(samples_[i])};
    model_.forward_backward(pack(alone));
    has_weights = has_weights || decision.samples[i].weight == 2;
    expected += all_gradients(model_) * decision.samples[i].weight;
  }
  ASSERT_TRUE(has_weights);
  EXPECT_EQ(decision.loss_tokens, count);
  const at::Tensor found = gradient_of(decision) * static_cast<double>(count);
  EXPECT_LT((found - expected).norm().item<double>() / expected.norm().item<double>(), 1e-5);
}

TEST_F(InfoBatchGradient, OfTheReferenceOpsIsTheSame) {
  Model twin = Model::load(fixture_.folder(), {.use = ModelUse::kTraining, .ops = OpsChoice::kReference});
  const PruneDecision decision = make_pruner(options("none")).decide(scores_, {.draw = 1});
  const at::Tensor found = gradient_of(decision) * static_cast<double>(decision.loss_tokens);
  twin.zero_gradients();
  twin.forward_backward(pack(kept_samples(pointers_to(samples_), decision, TokenMode::kMask)));
  const at::Tensor expected = all_gradients(twin);
  EXPECT_LT((found - expected).norm().item<double>() / expected.norm().item<double>(), 1e-4);
}

}  // namespace
}  // namespace qtune
