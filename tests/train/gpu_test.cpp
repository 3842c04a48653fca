// On a real GPU: the passes, updates and generation of whole models against the CPU's. Without one the tests are
// skipped and say why; tests/cuda then still runs every kernel on the CPU.
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/ops/device.h"
#include "qtune/ops/fp8.h"
#include "qtune/ops/linear_cross_entropy.h"
#include "qtune/optim/optimizer.h"
#include "support/model_fixture.h"
#include "support/tolerance.h"
#include "support/training_job.h"

namespace qtune {
namespace {

#define QTUNE_SKIP_WITHOUT_GPU() \
  if (load_gpu_support().num_devices == 0) GTEST_SKIP() << load_gpu_support().why_none

class GpuTest : public testing::TestWithParam<std::string> {
 protected:
  Model load(at::Device device, at::ScalarType dtype, OpsChoice ops = OpsChoice::kFused) const {
    return Model::load(fixture_.folder(),
                       {.compute_dtype = dtype, .device = device, .use = ModelUse::kTraining, .ops = ops});
  }
  ModelFixture fixture_{GetParam()};
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.cpu().to(at::kDouble) - b.cpu().to(at::kDouble)).abs().max().item<double>();
}

TEST_P(GpuTest, ScoresAndGradientsEqualTheCpus) {
  QTUNE_SKIP_WITHOUT_GPU();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const bool narrow = dtype == at::kBFloat16;
    Model cpu = load(at::kCPU, dtype), gpu = load(at::Device(at::kCUDA, 0), dtype);
    const RowScores expected = cpu.forward_backward(fixture_.batch());
    for (const RowScores& found : {gpu.score(fixture_.batch()), gpu.forward_backward(fixture_.batch())}) {
      EXPECT_LT(largest_difference(found.nll_N, expected.nll_N),
                narrow ? kModelBFloat16ScoreNats : kTransformersScoreNats);
      EXPECT_LT(largest_difference(found.entropy_N, expected.entropy_N),
                narrow ? kModelBFloat16ScoreNats : kTransformersScoreNats);
    }
    for (size_t i = 0; i < cpu.parameters().size(); ++i) {
      EXPECT_LT(relative_norm(gpu.parameters()[i].gradient.cpu(), cpu.parameters()[i].gradient),
                narrow ? kModelBFloat16GradientNorm : 1e-3)
          << cpu.parameters()[i].name;
    }
  }
}

TEST_P(GpuTest, PlainTwinGivesTheSame) {
  QTUNE_SKIP_WITHOUT_GPU();
  const at::Device device(at::kCUDA, 0);
  Model fused = load(device, at::kFloat), plain = load(device, at::kFloat, OpsChoice::kReference);
  EXPECT_LT(largest_difference(fused.forward_backward(fixture_.batch()).nll_N,
                               plain.forward_backward(fixture_.batch()).nll_N),
            kTransformersScoreNats);
}

TEST_P(GpuTest, SixStepsGiveTheLossesOfTransformers) {
  QTUNE_SKIP_WITHOUT_GPU();
  Model model = load(at::Device(at::kCUDA, 0), at::kFloat);
  Optimizer optimizer(model, {.weight_decay = 0.5});
  const double num_targets = static_cast<double>(fixture_.batch().num_targets());
  for (int64_t step = 0; step < 6; ++step) {
    model.zero_gradients();
    const at::Tensor nll_N = model.forward_backward(fixture_.batch()).nll_N;
    optimizer.update(1e-3, 1 / num_targets, 1.0, nll_N);
    const double norm = optimizer.finish_update(), loss = nll_N.cpu().to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(loss / fixture_.tensor("full_losses")[step].item<double>(), 1, 5e-5) << step;
    EXPECT_NEAR(norm / fixture_.tensor("full_grad_norms")[step].item<double>(), 1, 1e-3) << step;
  }
}

/// B is not zero in a trained adapter, so that every part of it counts; draws depend on places alone.
TEST_P(GpuTest, AnAdaptersGradientsWithDropoutEqualTheCpus) {
  QTUNE_SKIP_WITHOUT_GPU();
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const bool narrow = dtype == at::kBFloat16;
    const auto adapted = [&](at::Device device) {
      ModelOptions options{.compute_dtype = dtype, .device = device, .use = ModelUse::kTraining};
      options.adapter = AdapterOptions{.folder = fixture_.folder() / "adapter_trained", .config = {}, .seed = 3};
      options.adapter->config.dropout = 0.25;
      return Model::load(fixture_.folder(), options);
    };
    Model cpu = adapted(at::kCPU), gpu = adapted(at::Device(at::kCUDA, 0));
    for (Model* model : {&cpu, &gpu}) model->start_step(5);
    const RowScores expected = cpu.forward_backward(fixture_.batch()), found = gpu.forward_backward(fixture_.batch());
    EXPECT_LT(largest_difference(found.nll_N, expected.nll_N),
              narrow ? kModelBFloat16ScoreNats : kTransformersScoreNats);
    for (size_t i = 0; i < cpu.parameters().size(); ++i) {
      EXPECT_LT(relative_norm(gpu.parameters()[i].gradient.cpu(), cpu.parameters()[i].gradient),
                narrow ? kModelBFloat16GradientNorm : 1e-3)
          << cpu.parameters()[i].name;
    }
  }
}

/// The same roundings as the CPU's plain form; the tensor cores add up products of 8 bits with fewer bits than float32.
TEST_P(GpuTest, ScoresOnEightBitsAreThoseOfTheCpusPlainForm) {
  QTUNE_SKIP_WITHOUT_GPU();
  const at::Device device(at::kCUDA, 0);
  if (!has_fp8(device)) GTEST_SKIP() << "this GPU has no arithmetic on 8-bit floats";
  Model cpu = load(at::kCPU, at::kBFloat16), gpu = load(device, at::kBFloat16);
  try {
    cpu.prepare_fp8_scores();
  } catch (const Error& e) {
    GTEST_SKIP() << e.what();  // sizes that are no multiples of 16
  }
  gpu.prepare_fp8_scores();
  const at::Tensor expected = cpu.score(fixture_.batch(), ScoreType::kFp8).nll_N;
  const at::Tensor found = gpu.score(fixture_.batch(), ScoreType::kFp8).nll_N;
  EXPECT_LT(largest_difference(found, expected), 2 * kModelBFloat16ScoreNats);
  EXPECT_GT(largest_difference(found, gpu.score(fixture_.batch()).nll_N), 0.0);
}

TEST_P(GpuTest, CachedGenerationGivesTheCpusLogits) {
  QTUNE_SKIP_WITHOUT_GPU();
  Model cpu = load(at::kCPU, at::kFloat), gpu = load(at::Device(at::kCUDA, 0), at::kFloat);
  KeyValueCache cpu_cache = cpu.make_cache(), gpu_cache = gpu.make_cache();
  const at::Tensor ids_N = fixture_.batch().ids_N;
  const std::vector<int32_t> prompt(ids_N.data_ptr<int32_t>(), ids_N.data_ptr<int32_t>() + 20);
  for (const std::vector<int32_t>& part : {prompt, {prompt[3]}, {prompt[5]}}) {
    const at::Tensor expected = cpu.next_token_logits(part, cpu_cache).clone();
    EXPECT_LT(largest_difference(gpu.next_token_logits(part, gpu_cache), expected), kTransformersScoreNats);
  }
  // Two sequences of unequal length in one pass.
  KeyValueCache first = gpu.make_cache(), second = gpu.make_cache(), alone = cpu.make_cache();
  const std::vector<int32_t> one{prompt[7]};
  const std::vector<SequenceTokens> sequences{{.ids = one, .cache = &first}, {.ids = prompt, .cache = &second}};
  const at::Tensor both = gpu.next_token_logits(sequences);
  EXPECT_LT(largest_difference(both[1], cpu.next_token_logits(prompt, alone)), kTransformersScoreNats);
}

INSTANTIATE_TEST_SUITE_P(Families, GpuTest, kFixtureModels, [](const auto& family) { return family.param; });

/// The head without logits in memory: ragged rows, words and depths, against float64.
TEST(GpuHead, ScoresEqualTheFloat64Product) {
  QTUNE_SKIP_WITHOUT_GPU();
  const auto device = at::TensorOptions(at::Device(at::kCUDA, 0));
  struct Shape {
    int64_t n, d, v;
  };
  for (const auto& [n, d, v] : {Shape{256, 64, 256},
                                {257, 72, 1000},
                                {1000, 576, 49'152},
                                {700, 2048, 50'001},
                                {5000, 128, 2'017},
                                {100, 64, 3000},
                                {20'000, 64, 151'936}}) {
    const at::Tensor hidden = at::randn({n, d}, device.dtype(at::kBFloat16));
    const at::Tensor head = (at::randn({v, d}, device) * 3 / std::sqrt(static_cast<double>(d))).to(at::kBFloat16);
    const at::Tensor targets = at::randint(v, {n}, device.dtype(at::kInt));
    const RowScores found = linear_cross_entropy(hidden, head, targets);
    for (int64_t row = 0; row < n; row += 500) {
      const int64_t count = std::min<int64_t>(500, n - row);
      const at::Tensor logits = at::mm(hidden.narrow(0, row, count).to(at::kDouble), head.to(at::kDouble).t());
      const at::Tensor log_p = logits.log_softmax(1);
      const at::Tensor nll = -log_p.gather(1, targets.narrow(0, row, count).to(at::kLong).unsqueeze(1)).squeeze(1);
      const at::Tensor entropy = -(log_p.exp() * log_p).sum(1);
      EXPECT_LT(largest_difference(found.nll_N.narrow(0, row, count), nll), 1e-4) << n << " " << d << " " << v;
      EXPECT_LT(largest_difference(found.entropy_N.narrow(0, row, count), entropy), 1e-4);
    }
  }
}

TEST(GpuHead, ALogitThatIsNotFiniteShowsInTheScores) {
  QTUNE_SKIP_WITHOUT_GPU();
  const auto device = at::TensorOptions(at::Device(at::kCUDA, 0));
  const at::Tensor hidden = at::ones({300, 64}, device.dtype(at::kBFloat16));
  const at::Tensor head = at::ones({1000, 64}, device.dtype(at::kBFloat16));
  hidden[7][3].fill_(NAN);
  const RowScores scores = linear_cross_entropy(hidden, head, at::zeros({300}, device.dtype(at::kInt)));
  const at::Tensor finite = scores.nll_N.isfinite().cpu();
  for (int64_t row = 0; row < 300; ++row) EXPECT_EQ(finite[row].item<bool>(), row != 7) << row;
}

TEST(GpuRun, TrainsSavesAndResumesLikeTheCpu) {
  QTUNE_SKIP_WITHOUT_GPU();
  const TrainingJob job;
  job.write_data(random_samples(24, 3));
  const Arguments steps = kQtuningHalf + Arguments{"save_strategy=steps", "save_steps=2"};
  job.run("gpu", steps + Arguments{"max_steps=4"});
  job.run("cpu", steps + Arguments{"max_steps=4", "use_cpu=true"});
  job.run("resumed", steps + Arguments{"max_steps=4", "resume_from_checkpoint=" + (job / "gpu/checkpoint-2").string()});
  const auto gpu = job.metrics("gpu"), cpu = job.metrics("cpu"), resumed = job.metrics("resumed");
  ASSERT_EQ(gpu.size(), 4U);
  ASSERT_EQ(resumed.size(), 2U);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(gpu[i].at("loss"), cpu[i].at("loss"), 1e-4) << i;
  for (size_t i = 0; i < 2; ++i) EXPECT_NEAR(resumed[i].at("loss"), gpu[i + 2].at("loss"), 1e-5) << i;
}

/// Samples of more than one block of keys: only then can two writers meet in attention's backward.
TEST(GpuRun, FullDeterminismGivesTheSameBits) {
  QTUNE_SKIP_WITHOUT_GPU();
  const TrainingJob job;
  std::vector<nlohmann::json> samples;
  for (uint64_t i = 0; i < 24; ++i) {
    CounterRng rng(3, i);
    std::vector<int32_t> ids(500);
    for (int32_t& id : ids) id = static_cast<int32_t>(rng.next_below(331));
    samples.push_back({{"input_ids", ids}});
  }
  job.write_data(samples);
  const Arguments steps{"max_steps=3", "save_strategy=steps", "save_steps=3", "bf16=true", "full_determinism=true"};
  job.run("first", steps);
  job.run("second", steps);
  EXPECT_EQ(job.weights("first", 3), job.weights("second", 3));
}

/// A laptop without a GPU trains all the same, and use_cpu says nothing about one.
TEST(GpuSupport, ANewcomerWithoutAGpuIsTold) {
  const GpuSupport& support = load_gpu_support();
  if (support.num_devices > 0) GTEST_SKIP() << "there is a GPU";
  EXPECT_FALSE(support.why_none.empty());
  EXPECT_EQ(choose_device(DeviceChoice::kGpuIfAny), at::kCPU);
}

}  // namespace
}  // namespace qtune
