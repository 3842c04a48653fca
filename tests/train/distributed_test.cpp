// Several ranks, each a qtune process of its own on this host: equal to one rank, and what becomes of a job whose rank
// dies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "qtune/base/error.h"
#include "qtune/formats/safetensors.h"
#include "support/broken_model.h"
#include "support/ranks.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using testing::HasSubstr;

/// The processes of one job.
class Job {
 public:
  Job(const TrainingJob& job, int world_size, const Arguments& arguments) {
    (void)job;
    const int port = free_port();
    for (int rank = 0; rank < world_size; ++rank) {
      ranks_.push_back(std::make_unique<QtuneProcess>(
          arguments,
          ProcessOptions{.environment = {"RANK=" + std::to_string(rank), "WORLD_SIZE=" + std::to_string(world_size),
                                         "LOCAL_RANK=" + std::to_string(rank),
                                         "LOCAL_WORLD_SIZE=" + std::to_string(world_size), "MASTER_ADDR=127.0.0.1",
                                         "MASTER_PORT=" + std::to_string(port)}}));
    }
  }
  QtuneProcess& operator[](int rank) { return *ranks_[static_cast<size_t>(rank)]; }

  std::vector<ProcessResult> wait() {
    std::vector<ProcessResult> results;
    for (const auto& rank : ranks_) results.push_back(rank->wait());
    return results;
  }

 private:
  std::vector<std::unique_ptr<QtuneProcess>> ranks_;
};

void run_ranks(const TrainingJob& job, const std::string& run, int world_size, const Arguments& overrides) {
  for (const ProcessResult& result : Job(job, world_size, job.train(run, overrides)).wait()) {
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
}

/// What all ranks of a job said of errors.
std::vector<std::string> errors_of(const std::vector<ProcessResult>& results) {
  std::vector<std::string> lines;
  for (const ProcessResult& result : results) {
    for (const std::string& line : result.error_lines("error: ")) lines.push_back(line);
  }
  return lines;
}

void expect_same_losses(const TrainingJob& job, const std::string& found, const std::string& expected) {
  const auto a = job.metrics(found), b = job.metrics(expected);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (const char* key : {"loss", "eval_loss", "grad_norm"}) {
      ASSERT_EQ(a[i].contains(key), b[i].contains(key)) << i;
      if (!a[i].contains(key)) continue;
      EXPECT_NEAR(a[i][key].get<double>() / b[i][key].get<double>(), 1, 1e-5) << key << " of line " << i;
    }
  }
}

/// What is kept of each sample. Scores differ in their last bits once weights do.
void expect_same_decisions(const TrainingJob& job, const std::string& found, const std::string& expected) {
  auto a = job.decisions(found), b = job.decisions(expected);
  for (auto* lines : {&a, &b}) {
    for (nlohmann::json& line : *lines) {
      for (const char* key : {"rank", "ppl", "entropy", "quadrant"}) line.erase(key);
    }
  }
  EXPECT_EQ(a, b);
}

double largest_weight_difference(const TrainingJob& job, const std::string& a, const std::string& b, int64_t step,
                                 const std::string& file = "model.safetensors") {
  const std::string folder = "checkpoint-" + std::to_string(step);
  const SafetensorsFile first(job / a / folder / file), second(job / b / folder / file);
  double largest = 0;
  for (const TensorView& view : first.tensors()) {
    const TensorView& other = second.at(view.name);
    std::vector<float> x(view.bytes.size() / 4), y(x.size());
    to_floats(view.bytes, view.dtype, x);
    to_floats(other.bytes, other.dtype, y);
    for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, static_cast<double>(std::abs(x[i] - y[i])));
  }
  return largest;
}

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

/// zero_stage: 1.
class Sharded : public testing::TestWithParam<std::string> {
 protected:
  static std::string trained_file(const std::string& parameter) {
    return parameter == "finetuning_type=lora" ? "adapter_model.safetensors" : "model.safetensors";
  }
};

TEST_P(Sharded, OptimizerGivesTheLossesOfAWholeOne) {
  const TrainingJob job;
  job.write_data(random_samples(40, 9));
  const Arguments common = kQtuningHalf + Arguments{"per_device_train_batch_size=2",
                                                    "gradient_accumulation_steps=2",
                                                    "max_steps=8",
                                                    "save_strategy=steps",
                                                    "save_steps=4",
                                                    "ddp_timeout=30",
                                                    GetParam()};
  run_ranks(job, "whole", 3, common);
  run_ranks(job, "sharded", 3, common + Arguments{"zero_stage=1"});
  const auto whole = job.metrics("whole"), sharded = job.metrics("sharded");
  ASSERT_EQ(whole.size(), sharded.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_EQ(whole[i].at("loss"), sharded[i].at("loss"))
        << "an update of an element needs no other element: to the bit";
  }
  EXPECT_EQ(read_file(job / "sharded" / trained_file(GetParam())), read_file(job / "whole" / trained_file(GetParam())));
  // A third each, and both moments (in bfloat16 the masters too) of every element in exactly one.
  EXPECT_EQ(job.files("sharded/checkpoint-8", "optimizer").size(), 3U);
  uint64_t bytes = 0, largest = 0;
  for (const std::string& name : job.files("sharded/checkpoint-8", "optimizer")) {
    uint64_t own = 0;
    const SafetensorsFile file(job / "sharded/checkpoint-8" / name);
    for (const TensorView& view : file.tensors()) own += view.bytes.size();
    bytes += own;
    largest = std::max(largest, own);
  }
  uint64_t expected = 0;
  const SafetensorsFile file(job / "whole/checkpoint-8/optimizer.safetensors");
  for (const TensorView& view : file.tensors()) expected += view.bytes.size();
  if (GetParam() == "bf16=true") {
    const SafetensorsFile weights(job / "whole/checkpoint-8/model.safetensors");
    for (const TensorView& view : weights.tensors()) expected += view.shape.size() > 1 ? view.bytes.size() : 0;
  }
  EXPECT_EQ(bytes, expected);
  EXPECT_LE(largest, expected / 3 + expected / 100) << "norms have no master beside them";
}

TEST_P(Sharded, CheckpointsGoOnWithAnyNumberOfRanksAndWithoutShards) {
  const TrainingJob job;
  job.write_data(random_samples(40, 9));
  const Arguments common = Arguments{"per_device_train_batch_size=2",
                                     "gradient_accumulation_steps=2",
                                     "max_steps=8",
                                     "save_strategy=steps",
                                     "save_steps=4",
                                     "ddp_timeout=30",
                                     GetParam()};
  run_ranks(job, "sharded", 3, common + Arguments{"zero_stage=1"});
  const std::string from = "resume_from_checkpoint=" + (job / "sharded/checkpoint-4").string();
  run_ranks(job, "same", 3, common + Arguments{"zero_stage=1", from});
  run_ranks(job, "two", 2, common + Arguments{"zero_stage=1", from});
  run_ranks(job, "unsharded", 3, common + Arguments{from});
  job.run("alone", common + Arguments{from});
  const std::string back = "resume_from_checkpoint=" + (job / "unsharded/checkpoint-8").string();
  run_ranks(job, "again", 2, common + Arguments{"zero_stage=1", "max_steps=10", back});
  const auto expected = job.metrics("sharded");
  // Other ranks pack other samples together: bfloat16 rounds to other neighbours then.
  const double tolerance = GetParam() == "bf16=true" ? 2e-3 : 2e-5;
  for (const char* run : {"same", "two", "unsharded", "alone"}) {
    const auto found = job.metrics(run);
    ASSERT_EQ(found.size(), 4U) << run;
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(found[i].at("loss").get<double>() / expected[i + 4].at("loss").get<double>(), 1, tolerance) << run;
    }
  }
  EXPECT_EQ(job.in_checkpoint("same", 8, trained_file(GetParam())),
            job.in_checkpoint("sharded", 8, trained_file(GetParam())));
  EXPECT_EQ(job.metrics("again").size(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Distributed, Sharded,
                         testing::Values("finetuning_type=full", "finetuning_type=lora", "bf16=true"),
                         [](const auto& p) { return p.param.substr(p.param.find('=') + 1); });

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

TEST(Distributed, AKilledRankEndsTheJobAndTheSameCommandGoesOn) {
  const TrainingJob job;
  job.write_data(random_samples(60, 8));
  const Arguments common = kQtuningHalf + Arguments{"max_steps=40", "save_strategy=steps", "save_steps=5",
                                                    "gradient_accumulation_steps=1", "ddp_timeout=4"};
  run_ranks(job, "whole", 3, common);
  Job broken(job, 3, job.train("broken", common));
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

TEST(Distributed, AnErrorOfAllRanksIsSaidOnce) {
  const TrainingJob job;
  job.write_data({{{"input_ids", {5, 6, 7}}}, {{"input_ids", "x"}}});
  const std::vector<ProcessResult> results = Job(job, 3, job.train("run", {"ddp_timeout=10"})).wait();
  for (const ProcessResult& result : results)
    EXPECT_TRUE(result.exit_code == kExitData || result.exit_code == kExitDistributed);
  EXPECT_EQ(results[0].exit_code, kExitData) << results[0].err;
  EXPECT_EQ(errors_of(results).size(), 1U) << testing::PrintToString(errors_of(results));
}

TEST(Distributed, RanksThatReadOtherDataAreRefused) {
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

TEST(Distributed, RanksThatReadOtherWeightsAreRefused) {
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

TEST(Distributed, ADryRunIsSaidByOneRank) {
  const TrainingJob job;
  job.write_data(random_samples(20, 1));
  const std::vector<ProcessResult> results = Job(job, 2, job.train("run", {"dry_run=true"})).wait();
  for (const ProcessResult& result : results) EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(results[0].out, HasSubstr("16 samples: 2 micro-batches of 4 on each of 2 ranks"));
  EXPECT_EQ(results[1].out, "");
  EXPECT_FALSE(std::filesystem::exists(job / "run"));
}

/// Losses that are not finite are every rank's, wherever the sample is.
TEST(Distributed, AStepThatIsNotFiniteIsSkippedOrStopsAllAlike) {
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
      Job(job, 3, job.train("skips", common + Arguments{"on_nonfinite=skip"})).wait();
  for (const ProcessResult& result : skips) EXPECT_EQ(result.exit_code, kExitNonFinite) << result.err;
  EXPECT_THAT(errors_of(skips), testing::ElementsAre(HasSubstr("model.embed_tokens.weight")));
  EXPECT_EQ(job.metrics("skips").size(), 4U);
  EXPECT_EQ(job.files("skips", "nonfinite-step-").size(), 1U);
  const std::vector<ProcessResult> results = Job(job, 3, job.train("stops", common)).wait();
  for (const ProcessResult& result : results) EXPECT_EQ(result.exit_code, kExitNonFinite) << result.err;
  EXPECT_EQ(errors_of(results).size(), 1U) << testing::PrintToString(errors_of(results));
}

TEST(Distributed, OneSignalStopsAllRanksAfterTheSameStep) {
  const TrainingJob job;
  job.write_data(random_samples(60, 8));
  Job ranks(job, 2, job.train("run", {"max_steps=100000", "gradient_accumulation_steps=1", "ddp_timeout=20"}));
  ASSERT_TRUE(ranks[0].wait_until(
      [&] { return std::filesystem::exists(job / "run/metrics.jsonl") && job.steps_logged("run") > 3; }));
  ranks[1].send(SIGTERM);
  for (const ProcessResult& result : ranks.wait()) EXPECT_EQ(result.exit_code, kExitInterrupted) << result.err;
  EXPECT_EQ(job.files("run", "checkpoint-").size(), 1U);
}

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
