#include "qtune/bench/step_bench.h"

#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

StepBenchOptions small_options() {
  return {
      .model = ModelFixture("llama_tied").folder(), .num_samples = 8, .micro_batch = 4, .length = 32, .num_steps = 3};
}

TEST(ForwardFlops, AreTwoForEachWeightAndToken) {
  const ModelConfig c = read_model_config(ModelFixture("llama_tied").folder());
  // hidden 64, 4 heads and 2 kv heads of 16, feed-forward 112, 3 layers, vocabulary 331; 10 tokens of one sample.
  const double layer = 2 * 64 * 128 + 2 * 64 * 64 + 6 * 64 * 112 + 4 * 64 * 5;
  EXPECT_EQ(forward_flops(c, 10, 10, 4), 10 * 3 * layer + 2 * 4 * 64 * 331);
  EXPECT_EQ(forward_flops(c, 0, 10, 0), 0);
}

TEST(StepBench, CountsWhatAStepDoes) {
  const StepBenchResult all = bench_step(small_options());
  EXPECT_EQ(all.num_tokens, 8 * 32);
  EXPECT_EQ(all.kept_samples, 8);
  EXPECT_EQ(all.targets, 8 * 16);
  EXPECT_GT(all.train_seconds, all.score_seconds) << "nothing is scored without a pruner";
  EXPECT_GT(all.peak_memory_bytes, 0);
  const ModelConfig c = read_model_config(small_options().model);
  // The last token of a sample is predicted, not read.
  EXPECT_EQ(all.step_flops, 3 * forward_flops(c, 8 * 31, 32, 8 * 16));
}

TEST(StepBench, PrunedStepsScoreAllAndTrainSome) {
  StepBenchOptions options = small_options();
  options.pruner.sample_method = options.pruner.token_method = "qtuning";
  options.pruner.sample_keep = 0.25;
  const StepBenchResult pruned = bench_step(options);
  EXPECT_EQ(pruned.kept_samples, 2);
  EXPECT_LE(pruned.targets, 2 * 16);
  const ModelConfig c = read_model_config(options.model);
  EXPECT_GT(pruned.step_flops, forward_flops(c, 8 * 32, 32, 8 * 16));
  EXPECT_LT(pruned.step_flops, bench_step(small_options()).step_flops);
}

TEST(RooflineShare, IsOneForAStepAtTheDevicesRates) {
  const StepBenchResult step{.step_seconds = 3, .step_flops = 200, .step_bytes = 50};
  EXPECT_DOUBLE_EQ(roofline_share(step, {.flops = 100, .bytes = 50}), 1);
  const DevicePeaks peaks = measure_peaks(at::kCPU, at::kFloat);
  EXPECT_GT(peaks.flops, 1e8);
  EXPECT_GT(peaks.bytes, 1e8);
}

TEST(StepBench, SamplesBeyondThePositionsAreRefused) {
  StepBenchOptions options = small_options();
  options.length = 513;
  EXPECT_THROW(bench_step(options), ConfigError);
}

}  // namespace
}  // namespace qtune
