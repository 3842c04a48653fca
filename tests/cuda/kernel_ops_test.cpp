// Whole models on the kernels: what a GPU computes, with every kernel run by tests/simt on CPU tensors. Only products
// and attention, LibTorch's own on a GPU, are replaced (runtime_simt.cpp).
#include <gtest/gtest.h>

#include <cmath>

#include "cuda/kernel_ops.h"
#include "qtune/base/error.h"
#include "qtune/model/reference.h"
#include "qtune/ops/fp8.h"
#include "qtune/ops/linear.h"
#include "qtune/optim/optimizer.h"
#include "support/model_fixture.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

/// While it lives, ops on CPU tensors run on the kernels.
class OnKernels {
 public:
  OnKernels() { set_device_ops(at::kCPU, &ops_); }
  ~OnKernels() { set_device_ops(at::kCPU, nullptr); }

 private:
  KernelOps ops_;
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

Model training_model(const ModelFixture& fixture, at::ScalarType dtype) {
  return Model::load(fixture.folder(), {.compute_dtype = dtype, .use = ModelUse::kTraining});
}

class ModelOnKernels : public testing::TestWithParam<std::string> {
 protected:
  void expect_equal_passes(at::ScalarType dtype, double score_nats, double gradient_norm);

  ModelFixture fixture_{GetParam()};
};

void ModelOnKernels::expect_equal_passes(at::ScalarType dtype, double score_nats, double gradient_norm) {
  Model expected = training_model(fixture_, dtype), found = training_model(fixture_, dtype);
  const PackedTokens batch = fixture_.batch();
  const RowScores wanted = expected.forward_backward(batch);
  RowScores scores, passed;
  {
    const OnKernels kernels;
    scores = found.score(batch);
    passed = found.forward_backward(batch);
  }
  for (const RowScores* rows : {&scores, &passed}) {
    EXPECT_LT(largest_difference(rows->nll_N, wanted.nll_N), score_nats);
    EXPECT_LT(largest_difference(rows->entropy_N, wanted.entropy_N), score_nats);
    EXPECT_LT(largest_difference(rows->logsumexp_N, wanted.logsumexp_N), score_nats);
  }
  for (size_t i = 0; i < expected.parameters().size(); ++i) {
    const Parameter &p = found.parameters()[i], &q = expected.parameters()[i];
    EXPECT_LT(relative_norm(p.gradient, q.gradient), gradient_norm) << p.name;
  }
}

TEST_P(ModelOnKernels, ScoresAndGradientsEqualTheCpusInFloat32) {
  expect_equal_passes(at::kFloat, kModelScoreNats, kModelGradientNorm);
}

TEST_P(ModelOnKernels, ScoresAndGradientsEqualTheCpusInBFloat16) {
  expect_equal_passes(at::kBFloat16, kModelBFloat16ScoreNats, kModelBFloat16GradientNorm);
}

TEST_P(ModelOnKernels, ScoresAndLossesOfThreeStepsEqualTransformers) {
  const OnKernels kernels;
  Model model = training_model(fixture_, at::kFloat);
  Optimizer optimizer(model, {.weight_decay = 0.5});
  const PackedTokens batch = fixture_.batch();
  const double num_targets = static_cast<double>(batch.num_targets());
  EXPECT_LT(largest_difference(model.score(batch).nll_N, fixture_.targets_of("nll")), kTransformersScoreNats);
  for (int64_t step = 0; step < 3; ++step) {
    model.zero_gradients();
    const at::Tensor nll_N = model.forward_backward(batch).nll_N;
    optimizer.update(1e-3, 1 / num_targets, 1.0, nll_N);
    const double norm = optimizer.finish_update(), loss = nll_N.to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(loss / fixture_.tensor("full_losses")[step].item<double>(), 1, 2e-5) << step;
    EXPECT_NEAR(norm / fixture_.tensor("full_grad_norms")[step].item<double>(), 1, 2e-4) << step;
  }
}

TEST_P(ModelOnKernels, CachedGenerationGivesTheCpusLogits) {
  Model expected = Model::load(fixture_.folder(), {}), found = Model::load(fixture_.folder(), {});
  const at::Tensor ids_N = fixture_.batch().ids_N;
  const std::vector<int32_t> ids(ids_N.data_ptr<int32_t>(), ids_N.data_ptr<int32_t>() + 24);
  KeyValueCache cache = expected.make_cache(), kernel_cache = found.make_cache();
  // A prompt, then tokens one by one, past the window of 16.
  const std::vector<std::vector<int32_t>> parts{{ids.begin(), ids.begin() + 20}, {ids[20]}, {ids[21]}, {ids[22]}};
  for (const std::vector<int32_t>& part : parts) {
    const at::Tensor wanted = expected.next_token_logits(part, cache).clone();
    const OnKernels kernels;
    EXPECT_LT(largest_difference(found.next_token_logits(part, kernel_cache), wanted), kTransformersScoreNats);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ModelOnKernels, kFixtureModels, [](const auto& family) { return family.param; });

TEST(KernelOps, RunsOfAModelHaveTheSameBits) {
  const OnKernels kernels;
  const ModelFixture fixture("llama_tied");
  Model first = training_model(fixture, at::kBFloat16), second = training_model(fixture, at::kBFloat16);
  EXPECT_TRUE(at::equal(first.forward_backward(fixture.batch()).nll_N, second.forward_backward(fixture.batch()).nll_N));
  for (size_t i = 0; i < first.parameters().size(); ++i) {
    EXPECT_TRUE(at::equal(first.parameters()[i].gradient, second.parameters()[i].gradient));
  }
}

TEST(KernelOps, AnAdaptersGradientsEqualTheCpusWithDropout) {
  const ModelFixture fixture("llama_untied");
  const ModelOptions options{
      .use = ModelUse::kTraining,
      .adapter = AdapterOptions{.folder = {}, .config = {.rank = 4, .dropout = 0.25}, .seed = 3}};
  Model expected = Model::load(fixture.folder(), options), found = Model::load(fixture.folder(), options);
  for (Model* model : {&expected, &found}) {
    for (Parameter& p : model->parameters()) p.master.copy_(p.master + 0.01);  // B starts at zero
    model->refresh_compute_weights();
    model->start_step(5);
  }
  expected.forward_backward(fixture.batch());
  {
    const OnKernels kernels;
    found.forward_backward(fixture.batch());
  }
  for (size_t i = 0; i < expected.parameters().size(); ++i) {
    const Parameter &p = found.parameters()[i], &q = expected.parameters()[i];
    EXPECT_LT(relative_norm(p.gradient, q.gradient), kModelGradientNorm) << p.name;
  }
}

TEST(KernelOps, ALossThatIsNotFiniteLeavesTheWeights) {
  const OnKernels kernels;
  Model model = training_model(ModelFixture("llama_tied"), at::kFloat);
  Optimizer optimizer(model, {.weight_decay = 0.5});
  const at::Tensor before = model.parameters()[0].master.clone();
  optimizer.update(0.1, 1.0, 1.0, at::full({3}, INFINITY));
  EXPECT_FALSE(std::isfinite(optimizer.finish_update()));
  EXPECT_TRUE(at::equal(model.parameters()[0].master, before));
  optimizer.update(0.1, 1.0, 1.0, at::full({3}, 2.0f));
  EXPECT_EQ(optimizer.finish_update(), 0);
  EXPECT_FALSE(at::equal(model.parameters()[0].master, before)) << "decay alone moves it";
}

/// 1,024 rows by 8,192 words of float32 are a tile of the score form: here states meet over chunks of words, and rows
/// over tiles.
TEST(KernelOps, ScoresOfMoreThanATileEqualTheCpus) {
  const int64_t n = 1027, d = 3, v = 8201;
  const at::Tensor hidden = at::randn({n, d}), head = at::randn({v, d});
  const at::Tensor targets = at::randint(v, {n}, at::kInt);
  const RowScores wanted = linear_cross_entropy(hidden, head, targets);
  const OnKernels kernels;
  const RowScores found = linear_cross_entropy(hidden, head, targets);
  EXPECT_LT(largest_difference(found.nll_N, wanted.nll_N), kLargeVocabularyNats);
  EXPECT_LT(largest_difference(found.entropy_N, wanted.entropy_N), kLargeVocabularyNats);
}

/// bfloat16 rows enough for the kernel without logits (on a GPU it is Hopper's; tests/train/gpu_test.cpp).
TEST(KernelOps, ScoresWithoutLogitsEqualTheCpus) {
  const int64_t n = 300, d = 7, v = 5003;
  const at::Tensor hidden = at::randn({n, d}).to(at::kBFloat16), head = at::randn({v, d}).to(at::kBFloat16);
  const at::Tensor targets = at::randint(v, {n}, at::kInt);
  const RowScores wanted = linear_cross_entropy(hidden.to(at::kFloat), head.to(at::kFloat), targets);
  const OnKernels kernels;
  const RowScores found = linear_cross_entropy(hidden, head, targets);
  EXPECT_LT(largest_difference(found.nll_N, wanted.nll_N), kLargeVocabularyNats);
  EXPECT_LT(largest_difference(found.entropy_N, wanted.entropy_N), kLargeVocabularyNats);
}

/// Fewer rows than the kernel without logits takes are scored as exactly: no logit is rounded to bfloat16.
TEST(KernelOps, FewRowsAreScoredAsExactlyAsMany) {
  const int64_t n = 20, d = 7, v = 5003;
  const at::Tensor hidden = at::randn({n, d}).to(at::kBFloat16), head = at::randn({v, d}).to(at::kBFloat16);
  const at::Tensor targets = at::randint(v, {n}, at::kInt);
  const at::Tensor log_p = at::mm(hidden.to(at::kDouble), head.to(at::kDouble).t()).log_softmax(1);
  const at::Tensor nll = -log_p.gather(1, targets.to(at::kLong).unsqueeze(1)).squeeze(1);
  const OnKernels kernels;
  const RowScores found = linear_cross_entropy(hidden, head, targets);
  EXPECT_LT(largest_difference(found.nll_N, nll), kLargeVocabularyNats);
  EXPECT_LT(largest_difference(found.entropy_N, -(log_p.exp() * log_p).sum(1)), kLargeVocabularyNats);
}

/// A weight enters before the gradient of a logit is rounded: 1/3 is no bfloat16 number.
TEST(KernelOps, WeightedGradientsAreRoundedOnce) {
  const int64_t n = 9, d = 1, v = 64;
  const at::Tensor hidden = at::randn({n, d}).to(at::kBFloat16), head = at::randn({v, d}).to(at::kBFloat16);
  const at::Tensor targets = at::randint(v, {n}, at::kInt), weights = at::full({n}, 1.0 / 3);
  const at::Tensor p = at::mm(hidden, head.t()).to(at::kDouble).softmax(1);
  const at::Tensor onehot = at::zeros({n, v}, at::kDouble).scatter_(1, targets.to(at::kLong).unsqueeze(1), 1.0);
  const at::Tensor rounded = (p - onehot).mul(1.0f / 3).to(at::kFloat).to(at::kBFloat16).to(at::kDouble);
  const at::Tensor wanted = at::mm(rounded.t(), hidden.to(at::kDouble));
  const OnKernels kernels;
  const at::Tensor dhidden = at::empty({n, d}, at::kBFloat16), dhead = at::zeros({v, d});
  linear_cross_entropy_backward(hidden, head, targets, dhidden, dhead, weights);
  EXPECT_LT(relative_norm(dhead, wanted.to(at::kFloat)), 1e-4) << "rounded twice: 1e-3";
}

TEST(KernelOps, TensorsOfAnotherTypeOrWithGapsAreRefused) {
  const KernelOps ops;
  const at::Tensor x = at::randn({4, 8}), y = at::empty({4, 4});
  EXPECT_THROW(ops.swiglu(x.to(at::kBFloat16), y), Error) << "another type than y's";
  EXPECT_THROW(ops.swiglu(at::randn({8, 4}).t(), y), Error) << "columns of another";
  ops.swiglu(x, y);
}

/// Eight bits round by up to 1/16; what a score is off by then is far from what a wrong row or scale gives.
TEST(KernelOps, ScoresOnEightBitsAreNearThoseOnSixteen) {
  const ModelFixture fixture("llama_untied");
  const OnKernels kernels;
  Model model = Model::load(fixture.folder(), {.compute_dtype = at::kBFloat16});
  const at::Tensor usual = model.score(fixture.batch()).nll_N;
  EXPECT_THROW(model.score(fixture.batch(), ScoreType::kFp8), Error) << "nothing was prepared";
  model.prepare_fp8_scores();
  const at::Tensor found = model.score(fixture.batch(), ScoreType::kFp8).nll_N;
  EXPECT_LT(largest_difference(found, usual), 0.5);
  EXPECT_GT(largest_difference(found, usual), 0.0);
  EXPECT_TRUE(at::equal(model.score(fixture.batch()).nll_N, usual)) << "the usual scores are as before";
}

TEST(KernelOps, EightBitRowsAndProductsEqualTheCpus) {
  at::Tensor x = at::randn({19, 48}).to(at::kBFloat16);
  x[3].zero_();
  const at::Tensor weight = at::randn({32, 48}).to(at::kBFloat16);
  const auto product = [&](Fp8Weight& w) {
    make_fp8_weight(weight, w);
    at::Tensor y = at::full({19, 32}, NAN, at::kBFloat16);
    linear_fp8(x, w, y);
    return y;
  };
  Fp8Weight wanted_weight, found_weight;
  const at::Tensor wanted = product(wanted_weight);
  const OnKernels kernels;
  const at::Tensor found = product(found_weight);
  EXPECT_TRUE(at::equal(found_weight.scales_O, wanted_weight.scales_O));
  EXPECT_TRUE(at::equal(found_weight.values_OI.view(at::kByte), wanted_weight.values_OI.view(at::kByte)));
  EXPECT_TRUE(at::equal(found, wanted));
}

TEST(KernelOps, EightBitScoresNeedBFloat16) {
  const ModelFixture fixture("llama_untied");
  EXPECT_FALSE(has_fp8(at::kCPU));
  Model wide = Model::load(fixture.folder(), {.compute_dtype = at::kFloat});
  EXPECT_THROW(wide.prepare_fp8_scores(), Error);
  const OnKernels kernels;
  EXPECT_TRUE(has_fp8(at::kCPU));
  EXPECT_THROW(wide.prepare_fp8_scores(), Error);
}

TEST(KernelOps, WeightsMultiplyTheRowsGradients) {
  const int64_t n = 7, d = 16, v = 331;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor hidden = at::randn({n, d}).to(dtype), head = at::randn({v, d}).to(dtype);
    const at::Tensor targets = at::randint(v, {n}, at::kInt), weights = at::rand({n});
    const at::Tensor dhidden = at::zeros({n, d}, dtype), dhead = at::zeros({v, d});
    linear_cross_entropy_backward(hidden, head, targets, dhidden, dhead, weights);
    const OnKernels kernels;
    const at::Tensor found_dhidden = at::full({n, d}, NAN, dtype), found_dhead = at::zeros({v, d});
    linear_cross_entropy_backward(hidden, head, targets, found_dhidden, found_dhead, weights);
    // A gradient in bfloat16 is rounded before and after its weight: two roundings of 2^-9 each, and those of products.
    const double tolerance = dtype == at::kFloat ? kModelGradientNorm : 0x1p-7;
    EXPECT_LT(relative_norm(found_dhidden, dhidden), tolerance) << dtype;
    EXPECT_LT(relative_norm(found_dhead, dhead), tolerance) << dtype;
  }
}

/// The training form's tile has whole rows, 128 at least.
TEST(KernelOps, GradientsOfMoreThanATileEqualTheCpus) {
  const int64_t n = 131, d = 3, v = 200'001;
  const at::Tensor hidden = at::randn({n, d}), head = at::randn({v, d});
  const at::Tensor targets = at::randint(v, {n}, at::kInt);
  const at::Tensor dhidden = at::zeros({n, d}), dhead = at::zeros({v, d});
  const RowScores wanted = linear_cross_entropy_backward(hidden, head, targets, dhidden, dhead);
  const OnKernels kernels;
  const at::Tensor found_dhidden = at::full({n, d}, NAN), found_dhead = at::zeros({v, d});
  const RowScores found = linear_cross_entropy_backward(hidden, head, targets, found_dhidden, found_dhead);
  EXPECT_LT(largest_difference(found.nll_N, wanted.nll_N), kLargeVocabularyNats);
  EXPECT_LT(relative_norm(found_dhidden, dhidden), kModelGradientNorm);
  EXPECT_LT(relative_norm(found_dhead, dhead), kModelGradientNorm);
}

}  // namespace
}  // namespace qtune
