// `qtune train dry_run=true` and the cache of tokenized samples, through the program.
#include <gmock/gmock.h>

#include "support/training_job.h"

namespace qtune {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(DryRun, ShowsThePlanAndTheFirstBatchAndWritesNothing) {
  TrainingJob job;
  job.write_data(random_samples(20, 1));
  const ProcessResult result = job.run("run", {"dry_run=true", "num_train_epochs=2", "warmup_ratio=0.2"});
  // 20 samples in steps of 4 x 2.
  EXPECT_THAT(result.out, AllOf(ContainsRegex("steps +6, 2 epochs of 3\n"), ContainsRegex("samples +20\n"),
                                HasSubstr("2 steps of warm-up"), ContainsRegex("memory +about [0-9.]+ MiB of")));
  EXPECT_THAT(result.out, AllOf(HasSubstr("first micro-batch, 4 samples:\n--- r"), HasSubstr("nothing was trained")));
  EXPECT_FALSE(std::filesystem::exists(job / "run"));
}

TEST(DryRun, ItsFirstBatchIsTheOneThatIsTrainedFirst) {
  TrainingJob job;
  job.write_data(random_samples(20, 2));
  const std::string out = job.run("run", {"dry_run=true"}).out;
  job.run("run", Arguments{"max_steps=1"} + kQtuningHalf);
  const auto decisions = job.decisions("run");
  size_t at = 0;
  for (size_t i = 0; i < 4; ++i) {
    const size_t next = out.find("--- " + decisions.at(i).at("id").get<std::string>() + ":", at);
    ASSERT_NE(next, std::string::npos) << decisions.at(i);
    at = next;
  }
}

TEST(DryRun, FindsFaultsOfModelDataAndFolder) {
  TrainingJob job;
  job.write_data(random_samples(8, 3));
  EXPECT_EQ(run_process(job.train("run", {"dry_run=true", "model_name_or_path=/no/such/model"})).exit_code, 4);
  EXPECT_EQ(run_process(job.train("run", {"dry_run=true", "dataset=/no/such.jsonl"})).exit_code, 3);
  EXPECT_EQ(run_process(job.train("run", {"dry_run=true", "output_dir=/etc/passwd"})).exit_code, 2);
  job.run("done", {"max_steps=1"});
  EXPECT_EQ(run_process(job.train("done", {"dry_run=true"})).exit_code, 2);
}

TEST(DryRun, FindsFaultsOfPruning) {
  TrainingJob job;
  job.write_data(random_samples(8, 3));
  const auto refusal = [&](const Arguments& arguments) {
    const ProcessResult result = run_process(job.train("run", Arguments{"dry_run=true"} + arguments));
    EXPECT_NE(result.exit_code, 0) << testing::PrintToString(arguments);
    return result.err;
  };
  EXPECT_THAT(refusal({"pruning.token.method=fastv", "pruning.token.layer=99"}),
              HasSubstr("pruning.token.layer: expected one of the model's"));
  EXPECT_THAT(refusal({"pruning.token.method=rho1", "pruning.token.reference_model=/no/such/model"}),
              HasSubstr("/no/such/model"));
  std::filesystem::create_directory(job / "small");
  std::string config = read_file(job.model() / "config.json");
  config.replace(config.find("\"vocab_size\": 331"), 17, "\"vocab_size\": 64");
  write_file_atomic(job / "small/config.json", config);
  EXPECT_THAT(refusal({"pruning.token.method=rho1", "pruning.token.reference_model=" + (job / "small").string()}),
              HasSubstr("found a vocabulary of 64, and 331 in"));
  std::ofstream(job / "ratings.jsonl") << R"({"id": "nobody", "score": 1})"
                                       << "\n";
  EXPECT_THAT(
      refusal({"pruning.sample.method=score_file", "pruning.sample.score_file=" + (job / "ratings.jsonl").string()}),
      HasSubstr("ratings.jsonl"));
}

TEST(DryRun, WarnsOnceWhereTooFewSamplesAreJudgedTogether) {
  TrainingJob job;
  job.write_data(random_samples(40, 3));
  const auto warnings = [&](const Arguments& arguments, const std::string& dry_run = "dry_run=true") {
    const ProcessResult result = run_process(job.train("run", Arguments{dry_run, "max_steps=1"} + arguments));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.error_lines("warning: pruning.sample: ");
  };
  const std::string accumulation = "gradient_accumulation_steps=", micro = "pruning.scope=micro";
  const std::vector<std::string> of_steps = warnings(kQtuningHalf);
  ASSERT_EQ(of_steps.size(), 1U);
  EXPECT_THAT(of_steps[0], HasSubstr("8 samples are judged together (a step)"));
  EXPECT_THAT(of_steps[0], HasSubstr("raise gradient_accumulation_steps so that 32 or more are"));
  EXPECT_THAT(warnings(kQtuningHalf + Arguments{accumulation + "4"}), IsEmpty()) << "16 samples";
  const std::vector<std::string> of_micro = warnings(kQtuningHalf + Arguments{accumulation + "4", micro});
  ASSERT_EQ(of_micro.size(), 1U);
  EXPECT_THAT(of_micro[0], HasSubstr("4 samples are judged together (a micro-batch: pruning.scope is micro)"));
  EXPECT_THAT(warnings({}), IsEmpty()) << "no pruning";
  EXPECT_EQ(warnings(kQtuningHalf, "dry_run=false").size(), 1U);
}

TEST(DryRun, CountsTheModelsThatTokensAreComparedWith) {
  TrainingJob job;
  job.write_data(random_samples(8, 3));
  const auto weights_of = [&](const Arguments& arguments) {
    const std::string out = job.run("run", Arguments{"dry_run=true"} + arguments).out;
    const size_t at = out.find("weights ");
    return out.substr(at, out.find(',', at) - at);
  };
  EXPECT_NE(weights_of(
                {"pruning.token.method=rho1", "pruning.token.reference_model=" QTUNE_TEST_DATA "/models/llama_untied"}),
            weights_of({}));
}

TEST(WarmUp, LongerThanTheRunIsAnErrorBeforeAnyWeightIsRead) {
  TrainingJob job;
  job.write_data(random_samples(16, 4));
  const ProcessResult result = run_process(job.train("run", {"num_train_epochs=1", "warmup_steps=3"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("command line: warmup_steps: expected at most 2, the steps of this run, found 3"));
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("model ")));
}

TEST(EvalDataset, AWrongNameIsFoundBeforeTheTrainingDataIsRead) {
  TrainingJob job;
  job.write_data(random_samples(8, 7));
  const ProcessResult result = run_process(job.train("run", {"eval_dataset=/no/such.jsonl", "eval_strategy=epoch"}));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, ::testing::Not(HasSubstr("trained")));
}

TEST(ValSize, ThatLeavesNothingToTrainOnNamesItsPlace) {
  TrainingJob job;
  job.write_data(random_samples(8, 8));
  const ProcessResult result = run_process(job.train("run", {"val_size=8", "eval_strategy=epoch"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("command line: val_size: expected to leave samples to train on, found 8 of 8"));
}

TEST(TokenizedPath, ASecondRunTakesItsSamplesFromThere) {
  TrainingJob job;
  job.write_data(random_samples(16, 5));
  const std::string cache = "tokenized_path=" + (job / "cache").string();
  EXPECT_THAT(job.run("a", {cache, "max_steps=2"}).err, ::testing::Not(HasSubstr("tokenized before")));
  EXPECT_THAT(job.run("b", {cache, "max_steps=2"}).err, HasSubstr("tokenized before"));
  EXPECT_EQ(read_file(job / "a" / "model.safetensors"), read_file(job / "b" / "model.safetensors"));
  EXPECT_THAT(job.run("c", {cache, "max_steps=2", "overwrite_cache=true"}).err,
              ::testing::Not(HasSubstr("tokenized before")));
}

TEST(MixStrategy, InterleavedDatasetsTakeTurns) {
  TrainingJob job;
  auto samples = random_samples(9, 6);
  job.write_data({samples.begin(), samples.begin() + 3});
  write_json_lines(job / "more.jsonl", {samples.begin() + 3, samples.end()});
  const std::string both = "dataset=" + job.data() + "," + (job / "more.jsonl").string();
  const auto samples_of = [&](const std::string& strategy) {
    return job.run("run", {both, "mix_strategy=" + strategy, "dry_run=true"}).out;
  };
  EXPECT_THAT(samples_of("concat"), ContainsRegex("samples +9\n"));
  EXPECT_THAT(samples_of("interleave_under"), ContainsRegex("samples +6\n"));
  EXPECT_THAT(samples_of("interleave_over"), ContainsRegex("samples +12\n"));
  EXPECT_THAT(samples_of("interleave_once"), ContainsRegex("samples +9\n"));
}

}  // namespace
}  // namespace qtune
