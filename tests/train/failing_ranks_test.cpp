// What becomes of a job of several ranks when one dies, sees other data, meets a step that is not finite, or is
// stopped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "support/broken_model.h"
#include "support/rank_processes.h"

namespace qtune {
namespace {

using testing::HasSubstr;

TEST(FailingRanks, AKilledRankEndsTheJobAndTheSameCommandGoesOn) {
  const TrainingJob job;
  job.write_data(random_samples(60, 8));
  const Arguments common = kQtuningHalf + Arguments{"max_steps=40", "save_strategy=steps", "save_steps=5",
                                                    "gradient_accumulation_steps=1", "ddp_timeout=4"};
  run_ranks(job, "whole", 3, common);
  RankProcesses broken(3, job.train("broken", common));
  ASSERT_TRUE(broken[1].wait_until([&] { return std::filesystem::exists(job / "broken/checkpoint-10"); }));
  broken[1].send(SIGKILL);
  const std::vector<ProcessResult> results = broken.wait();
  EXPECT_EQ(results[1].exit_code, 128 + SIGKILL);
  EXPECT_EQ(results[0].exit_code, kExitDistributed) << results[0].err;
  EXPECT_EQ(results[2].exit_code, kExitDistributed) << results[2].err;
  const std::vector<std::string> errors = errors_of(results);
  ASSERT_EQ(errors.size(), 1U) << testing::PrintToString(errors);
  EXPECT_THAT(errors[0], HasSubstr("rank 1 (host "));
  EXPECT_THAT(errors[0], HasSubstr("run the same command again"));
  run_ranks(job, "broken", 3, common);
  EXPECT_EQ(job.weights("broken", 40), job.weights("whole", 40)) << "to the bit";
  EXPECT_EQ(job.metrics("broken").size(), 40U);
}

TEST(FailingRanks, AnErrorOfAllRanksIsSaidOnce) {
  const TrainingJob job;
  job.write_data({{{"input_ids", {5, 6, 7}}}, {{"input_ids", "x"}}});
  const std::vector<ProcessResult> results = RankProcesses(3, job.train("run", {"ddp_timeout=10"})).wait();
  for (const ProcessResult& result : results)
    EXPECT_TRUE(result.exit_code == kExitData || result.exit_code == kExitDistributed);
  EXPECT_EQ(results[0].exit_code, kExitData) << results[0].err;
  EXPECT_EQ(errors_of(results).size(), 1U) << testing::PrintToString(errors_of(results));
}

TEST(FailingRanks, RanksThatReadOtherDataAreRefused) {
  const TrainingJob job, other;
  job.write_data(random_samples(20, 1));
  other.write_data(random_samples(20, 2));
  const int port = free_port();
  std::vector<std::unique_ptr<QtuneProcess>> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    Arguments arguments = job.train("run", {"ddp_timeout=10"});
    if (rank == 1) arguments.push_back("max_steps=7");
    ranks.push_back(std::make_unique<QtuneProcess>(
        arguments, ProcessOptions{.environment = {"RANK=" + std::to_string(rank), "WORLD_SIZE=2",
                                                  "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(port)}}));
  }
  const std::vector<ProcessResult> results{ranks[0]->wait(), ranks[1]->wait()};
  const std::vector<std::string> errors = errors_of(results);
  ASSERT_EQ(errors.size(), 1U) << testing::PrintToString(errors);
  EXPECT_THAT(errors[0], HasSubstr("config: rank 1 has another than rank 0"));
}

TEST(FailingRanks, RanksThatReadOtherWeightsAreRefused) {
  const TempDir other;
  WeightsToChange weights("llama_tied");
  weights.at("model.norm.weight").bytes[0] ^= std::byte{1};
  weights.write(other.path());
  write_config(other.path(), fixture_config("llama_tied"));
  const TrainingJob job;
  job.write_data(random_samples(20, 1));
  const int port = free_port();
  std::vector<std::unique_ptr<QtuneProcess>> ranks;
  for (int rank = 0; rank < 2; ++rank) {
    // The same path, as rank 1's host sees it.
    const std::filesystem::path link = job / ("host" + std::to_string(rank));
    std::filesystem::create_directories(link);
    std::filesystem::create_directory_symlink(rank == 0 ? job.model() : other.path(), link / "model");
    ranks.push_back(std::make_unique<QtuneProcess>(
        job.train("run", {"ddp_timeout=10", "model_name_or_path=model"}),
        ProcessOptions{.environment = {"RANK=" + std::to_string(rank), "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1",
                                       "MASTER_PORT=" + std::to_string(port)},
                       .directory = link}));
  }
  const std::vector<ProcessResult> results{ranks[0]->wait(), ranks[1]->wait()};
  const std::vector<std::string> errors = errors_of(results);
  ASSERT_EQ(errors.size(), 1U) << testing::PrintToString(errors);
  EXPECT_THAT(errors[0], HasSubstr("model.norm.weight: rank 1 has other values than rank 0"));
}

TEST(FailingRanks, AStepThatIsNotFiniteIsSkippedOrStopsAllAlike) {
  const TempDir broken;
  fixture_with_nan_embedding(5, broken.path());
  const TrainingJob job;
  std::vector<nlohmann::json> samples;
  for (int i = 0; i < 24; ++i) samples.push_back({{"input_ids", {3, i == 9 ? 5 : 6, 7, 8 + i, 9}}});
  job.write_data(samples);
  const Arguments common{"model_name_or_path=" + broken.path().string(), "per_device_train_batch_size=1",
                         "gradient_accumulation_steps=2", "max_steps=4", "ddp_timeout=10"};
  // The embedding itself holds the NaN: the steps are made, and saving the weights is refused.
  const std::vector<ProcessResult> skips =
      RankProcesses(3, job.train("skips", common + Arguments{"on_nonfinite=skip"})).wait();
  for (const ProcessResult& result : skips) EXPECT_EQ(result.exit_code, kExitNonFinite) << result.err;
  EXPECT_THAT(errors_of(skips), testing::ElementsAre(HasSubstr("model.embed_tokens.weight")));
  EXPECT_EQ(job.metrics("skips").size(), 4U);
  EXPECT_EQ(job.files("skips", "nonfinite-step-").size(), 1U);
  const std::vector<ProcessResult> results = RankProcesses(3, job.train("stops", common)).wait();
  for (const ProcessResult& result : results) EXPECT_EQ(result.exit_code, kExitNonFinite) << result.err;
  EXPECT_EQ(errors_of(results).size(), 1U) << testing::PrintToString(errors_of(results));
}

TEST(FailingRanks, OneSignalStopsAllRanksAfterTheSameStep) {
  const TrainingJob job;
  job.write_data(random_samples(60, 8));
  RankProcesses ranks(2, job.train("run", {"max_steps=100000", "gradient_accumulation_steps=1", "ddp_timeout=20"}));
  ASSERT_TRUE(ranks[0].wait_until(
      [&] { return std::filesystem::exists(job / "run/metrics.jsonl") && job.steps_logged("run") > 3; }));
  ranks[1].send(SIGTERM);
  for (const ProcessResult& result : ranks.wait()) EXPECT_EQ(result.exit_code, kExitInterrupted) << result.err;
  EXPECT_EQ(job.files("run", "checkpoint-").size(), 1U);
}

}  // namespace
}  // namespace qtune
