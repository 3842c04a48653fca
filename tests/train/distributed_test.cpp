// Several ranks, each a qtune process of its own on this host: equal to one rank.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "support/rank_processes.h"

namespace qtune {
namespace {

using testing::HasSubstr;

class RankCounts : public testing::TestWithParam<int> {};

TEST_P(RankCounts, TrainAsOneRankDoesWithTheSameGlobalBatch) {
  const int world_size = GetParam();
  const TrainingJob job;
  job.write_data(random_samples(80, 3));
  const Arguments common =
      kQtuningHalf +
      Arguments{
          "per_device_train_batch_size=2", "max_steps=20",  "val_size=9",    "eval_strategy=steps", "eval_steps=10",
          "save_strategy=steps",           "save_steps=20", "ddp_timeout=30"};
  job.run("one", common + Arguments{"gradient_accumulation_steps=12"});
  run_ranks(job, "many", world_size,
            common + Arguments{fmt::format("gradient_accumulation_steps={}", 12 / world_size)});
  expect_same_losses(job, "many", "one");
  expect_same_decisions(job, "many", "one");
  EXPECT_LT(largest_weight_difference(job, "many", "one", 20), 1e-5);
  std::set<int> ranks;
  for (const auto& line : job.decisions("many")) ranks.insert(line.at("rank").get<int>());
  EXPECT_EQ(static_cast<int>(ranks.size()), world_size) << "every rank worked";
  EXPECT_EQ(job.metrics("many").front().at("ranks").at("wait").size(), static_cast<size_t>(world_size));
}

INSTANTIATE_TEST_SUITE_P(Distributed, RankCounts, testing::Values(2, 3, 4));

/// Methods that look at more than the model's own scores, or weigh samples.
class PrunersOnRanks : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(PrunersOnRanks, DecideAndTrainAsOnOneRank) {
  const TrainingJob job;
  job.write_data(random_samples(60, 9));
  const Arguments common{std::string("pruning.sample.method=") + GetParam().first,
                         std::string("pruning.token.method=") + GetParam().second,
                         "pruning.sample.keep=0.5",
                         "pruning.token.reference_model=" QTUNE_TEST_DATA "/models/llama_untied",
                         "per_device_train_batch_size=2",
                         "max_steps=6",
                         "save_strategy=steps",
                         "save_steps=6",
                         "ddp_timeout=30"};
  job.run("one", common + Arguments{"gradient_accumulation_steps=6"});
  run_ranks(job, "many", 2, common + Arguments{"gradient_accumulation_steps=3"});
  expect_same_losses(job, "many", "one");
  expect_same_decisions(job, "many", "one");
  // A tenth of one step: Adam divides by a gradient's own size, so where that is little but rounding, the step is too.
  EXPECT_LT(largest_weight_difference(job, "many", "one", 6), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Distributed, PrunersOnRanks,
                         testing::Values(std::pair{"infobatch", "rho1"}, std::pair{"longest", "tokencleaning"},
                                         std::pair{"entropy", "sparsevlm"}),
                         [](const auto& p) { return std::string(p.param.first) + "_" + p.param.second; });

TEST(Distributed, AdaptersAreReducedAndNothingElse) {
  const TrainingJob job;
  job.write_data(random_samples(40, 4));
  const Arguments common{"finetuning_type=lora",
                         "lora_rank=4",
                         "max_steps=8",
                         "ddp_timeout=30",
                         "save_strategy=steps",
                         "save_steps=8",
                         "per_device_train_batch_size=2"};
  job.run("one", common + Arguments{"gradient_accumulation_steps=6"});
  run_ranks(job, "many", 3, common + Arguments{"gradient_accumulation_steps=2"});
  expect_same_losses(job, "many", "one");
  EXPECT_LT(largest_weight_difference(job, "many", "one", 8, "adapter_model.safetensors"), 1e-5);
}

/// One long sample among short ones, one or two kept of six: ranks with nothing to train in most steps.
TEST(Distributed, UnevenAndEmptyRanksGoOnForTwoHundredSteps) {
  const TrainingJob job;
  std::vector<nlohmann::json> samples = random_samples(48, 5);
  for (size_t i = 0; i < samples.size(); i += 7) {
    std::vector<int32_t> ids(300);
    CounterRng rng(9, i);
    for (int32_t& id : ids) id = static_cast<int32_t>(3 + rng.next_below(320));
    samples[i] = {{"input_ids", ids}};
  }
  job.write_data(samples);
  const Arguments common{"pruning.sample.method=qtuning",
                         "pruning.sample.keep=0.2",
                         "pruning.token.method=qtuning",
                         "max_steps=200",
                         "learning_rate=1e-4",
                         "ddp_timeout=30",
                         "per_device_train_batch_size=1"};
  job.run("one", common + Arguments{"gradient_accumulation_steps=6"});
  run_ranks(job, "many", 3, common + Arguments{"gradient_accumulation_steps=2"});
  expect_same_losses(job, "many", "one");
  expect_same_decisions(job, "many", "one");
}

TEST(Distributed, MicroScopeJudgesTheSameSamplesTogether) {
  const TrainingJob job;
  job.write_data(random_samples(48, 6));
  const Arguments common = kQtuningHalf + Arguments{"pruning.scope=micro", "max_steps=6", "ddp_timeout=30"};
  job.run("one", common + Arguments{"gradient_accumulation_steps=4"});
  run_ranks(job, "many", 2, common);
  expect_same_losses(job, "many", "one");
  expect_same_decisions(job, "many", "one");
}

TEST(Distributed, ResumesWithAnyNumberOfRanks) {
  const TrainingJob job;
  job.write_data(random_samples(50, 7));
  const Arguments common = kQtuningHalf + Arguments{"per_device_train_batch_size=2",
                                                    "gradient_accumulation_steps=3",
                                                    "num_train_epochs=3",
                                                    "save_strategy=steps",
                                                    "save_steps=4",
                                                    "ddp_timeout=30"};
  run_ranks(job, "whole", 2, common);  // 13 steps of 12 samples
  const std::string from = "resume_from_checkpoint=" + (job / "whole/checkpoint-8").string();
  run_ranks(job, "same", 2, common + Arguments{from});
  run_ranks(job, "more", 3, common + Arguments{from});
  job.run("fewer", common + Arguments{from});
  const auto whole = job.metrics("whole");
  for (const char* run : {"same", "more", "fewer"}) {
    const auto found = job.metrics(run);
    ASSERT_EQ(found.size(), whole.size() - 8) << run;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i].at("tokens_seen"), whole[i + 8].at("tokens_seen")) << run << ": the same samples";
      EXPECT_NEAR(found[i].at("loss").get<double>() / whole[i + 8].at("loss").get<double>(), 1, 1e-5) << run;
    }
  }
  EXPECT_EQ(job.weights("same", 12), job.weights("whole", 12)) << "to the bit";
  const std::string once_more = "resume_from_checkpoint=" + (job / "more/checkpoint-12").string();
  run_ranks(job, "more again", 3, common + Arguments{once_more});
  EXPECT_EQ(job.metrics("more again").at(0).at("tokens_seen"), whole.at(12).at("tokens_seen")) << "and a second time";
}

/// Half the bytes; sums are rounded to 8 bits of mantissa.
TEST(Distributed, GradientsMayBeSummedInBfloat16) {
  const TrainingJob job;
  job.write_data(random_samples(40, 9));
  const Arguments common = {"per_device_train_batch_size=2", "gradient_accumulation_steps=2", "max_steps=8",
                            "ddp_timeout=30"};
  run_ranks(job, "float", 3, common);
  run_ranks(job, "rounded", 3, common + Arguments{"reduce_dtype=bfloat16"});
  const auto exact = job.metrics("float"), rounded = job.metrics("rounded");
  ASSERT_EQ(exact.size(), rounded.size());
  EXPECT_NE(exact[0].at("grad_norm"), rounded[0].at("grad_norm"));
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NEAR(rounded[i].at("grad_norm").get<double>() / exact[i].at("grad_norm").get<double>(), 1, 1e-2);
    EXPECT_NEAR(rounded[i].at("loss").get<double>() / exact[i].at("loss").get<double>(), 1, 1e-2);
  }
}

TEST(Distributed, ADryRunIsSaidByOneRank) {
  const TrainingJob job;
  job.write_data(random_samples(20, 1));
  const std::vector<ProcessResult> results = RankProcesses(2, job.train("run", {"dry_run=true"})).wait();
  for (const ProcessResult& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(results[0].out, HasSubstr("16 samples: 2 micro-batches of 4 on each of 2 ranks"));
  EXPECT_EQ(results[1].out, "");
  EXPECT_FALSE(std::filesystem::exists(job / "run"));
}

/// Losses that are not finite are every rank's, wherever the sample is.
/// The launcher itself, with nothing but its own variables: rank 0's address is found through it.
class Launchers : public testing::TestWithParam<std::string> {};

TEST_P(Launchers, StartRanksThatFindEachOther) {
  const std::string command = GetParam();
  const std::string program = command.substr(0, command.find(' '));
  if (std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) != 0)
    GTEST_SKIP() << program << " is not installed";
  const TrainingJob job;
  job.write_data(random_samples(40, 3));
  const Arguments common{"max_steps=4", "ddp_timeout=30", "per_device_train_batch_size=2"};
  job.run("one", common + Arguments{"gradient_accumulation_steps=6"});
  const auto start = [&](const std::string& run, const Arguments& more) {
    std::string line = "OMP_NUM_THREADS=1 " + command + " " + QTUNE_BINARY;
    for (const std::string& argument : job.train(run, common + Arguments{"gradient_accumulation_steps=2"} + more)) {
      line += " '" + argument + "'";
    }
    return WEXITSTATUS(std::system((line + " >" + (job / "out").string() + " 2>&1").c_str()));
  };
  EXPECT_EQ(start("many", {}), 0) << read_file(job / "out");
  expect_same_losses(job, "many", "one");
  const auto times_said = [&](const std::string& what) {
    const std::string out = read_file(job / "out");
    size_t times = 0;
    for (size_t at = out.find(what); at != std::string::npos; at = out.find(what, at + 1)) ++times;
    return times;
  };
  EXPECT_EQ(start("wrong", {"model_name_or_path=/nowhere"}), kExitCheckpoint) << "rank 0's code is the launcher's";
  EXPECT_EQ(times_said("error: "), 1U) << read_file(job / "out");
  EXPECT_EQ(start("wrong", {"no_such_key=1"}), kExitUsage);
  EXPECT_EQ(times_said("no_such_key"), 1U) << read_file(job / "out");
  // A fault of rank 0 alone: nobody else looks at this folder.
  std::ofstream(job / "file") << "not a folder";
  EXPECT_NE(start("file", {}), 0);
  EXPECT_EQ(times_said("error: "), 1U) << read_file(job / "out");
  EXPECT_EQ(times_said((job / "file").string() + ":"), 1U) << read_file(job / "out");
}

INSTANTIATE_TEST_SUITE_P(Distributed, Launchers,
                         testing::Values("mpirun.openmpi --allow-run-as-root --oversubscribe -n 3",
                                         "mpiexec.hydra -n 3"),
                         [](const auto& p) { return p.param.starts_with("mpirun") ? "OpenMpi" : "Hydra"; });

}  // namespace
}  // namespace qtune
