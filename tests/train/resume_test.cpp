// A run that is killed or stopped and started again ends with the bits of one that never was.
#include <gtest/gtest.h>
#include <csignal>

#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

constexpr int64_t kSteps = 24;

/// Every kind of state there is: pruning, evaluation, a schedule, several epochs.
const Arguments kRun =
    kQtuningHalf + Arguments{"max_steps=24",        "save_strategy=steps", "save_steps=3", "save_total_limit=2",
                             "eval_strategy=steps", "eval_steps=5",        "val_size=4",   "warmup_steps=4"};

/// Lines without what differs from run to run: times and memory.
std::vector<Json> comparable(std::vector<Json> lines) {
  for (Json& line : lines) {
    for (const char* key : {"seconds", "eval_seconds", "peak_memory_bytes"}) line.erase(key);
  }
  return lines;
}

void expect_same_runs(const TrainingJob& job, const std::string& run, const std::string& expected) {
  EXPECT_TRUE(job.weights(run, kSteps) == job.weights(expected, kSteps));
  EXPECT_TRUE(read_file(job / run / "model.safetensors") == read_file(job / expected / "model.safetensors"));
  EXPECT_EQ(comparable(job.metrics(run)), comparable(job.metrics(expected)));
  EXPECT_EQ(job.decisions(run), job.decisions(expected));
  EXPECT_EQ(job.files(run), job.files(expected));
}

/// Starts the run and returns it as soon as `lines` are in metrics.jsonl, or at its end.
std::unique_ptr<QtuneProcess> start_until(const TrainingJob& job, const std::string& run, const Arguments& overrides,
                                          int64_t lines) {
  auto process = std::make_unique<QtuneProcess>(job.train(run, overrides));
  EXPECT_TRUE(process->wait_until([&] { return job.steps_logged(run) >= lines; })) << process->wait().err;
  return process;
}

class Resume : public testing::TestWithParam<std::string> {
 protected:
  Resume() {
    job_.write_data(random_samples(70, 11));
    overrides_ = kRun + Arguments{std::string("bf16=") + (GetParam() == "bfloat16" ? "true" : "false")};
    job_.run("whole", overrides_);
  }

  TrainingJob job_;
  Arguments overrides_;
};

TEST_P(Resume, KilledAtFiveStepsItEndsWithTheSameBits) {
  for (const int64_t lines : {4, 6, 11, 17, 23}) {  // the first checkpoint comes after three
    const auto process = start_until(job_, "killed", overrides_, lines);
    process->send(SIGKILL);
    ASSERT_EQ(process->wait().exit_code, 128 + SIGKILL) << "ended before it was killed at " << lines;
  }
  const ProcessResult last = job_.run("killed", overrides_);
  EXPECT_NE(last.err.find("resuming from"), std::string::npos) << last.err;
  expect_same_runs(job_, "killed", "whole");
}

TEST_P(Resume, KilledInTheMiddleOfASaveItGoesOnFromTheOneBefore) {
  const auto process = start_until(job_, "killed", overrides_, 5);
  process->send(SIGKILL);
  process->wait();
  const std::vector<std::string> before = job_.files("killed", "checkpoint-");
  ASSERT_FALSE(before.empty());
  // Room for the weights, but not for the optimizer's state.
  const auto room = std::filesystem::file_size(job_ / "killed" / before[0] / "model.safetensors") + 1000;
  const ProcessResult killed =
      run_process(job_.train("killed", overrides_), {.file_limit_bytes = room, .at_limit = FileLimitAction::kKill});
  ASSERT_EQ(killed.exit_code, 128 + SIGXFSZ) << killed.err;
  const std::vector<std::string> torn = job_.files("killed", "checkpoint-");
  ASSERT_EQ(torn.size(), before.size() + 1);
  ASSERT_TRUE(torn.back().ends_with(".tmp") || torn.front().ends_with(".tmp"));
  job_.run("killed", overrides_);
  expect_same_runs(job_, "killed", "whole");
}

TEST_P(Resume, StoppedBySignalsItSavesAndTheSameCommandGoesOn) {
  for (const auto& [signal, lines] : {std::pair{SIGTERM, 4}, std::pair{SIGINT, 14}}) {
    const auto process = start_until(job_, "stopped", overrides_, lines);
    process->send(signal);
    const ProcessResult result = process->wait();
    EXPECT_EQ(result.exit_code, 130) << result.err;
    const auto notes = result.error_lines("warning: stopped after step ");
    ASSERT_EQ(notes.size(), 1U) << result.err;
    EXPECT_NE(notes[0].find("run the same command again"), std::string::npos);
    const Json last = job_.metrics("stopped").back();
    const std::string checkpoint = fmt::format("checkpoint-{}", last.at("step").get<int64_t>());
    EXPECT_NE(notes[0].find(checkpoint), std::string::npos) << notes[0];
    EXPECT_TRUE(std::filesystem::exists(job_ / "stopped" / checkpoint / "manifest.json"));
    EXPECT_FALSE(std::filesystem::exists(job_ / "stopped" / "model.safetensors"));
  }
  job_.run("stopped", overrides_);
  EXPECT_TRUE(job_.weights("stopped", kSteps) == job_.weights("whole", kSteps));
  EXPECT_EQ(comparable(job_.metrics("stopped")), comparable(job_.metrics("whole")));
  EXPECT_EQ(job_.decisions("stopped"), job_.decisions("whole"));
}

TEST(FinishedRun, StartedAgainChangesNothing) {
  const TrainingJob job;
  job.write_data(random_samples(70, 11));
  for (const std::string eval_steps : {"eval_steps=8", "eval_steps=7"}) {  // the last step is evaluated by both
    const Arguments overrides = kRun + Arguments{eval_steps};
    job.run("out", overrides + Arguments{"overwrite_output_dir=true"});
    const auto before = job.contents("out");
    job.run("out", overrides);
    EXPECT_TRUE(job.contents("out") == before);
  }
}

TEST(FinishedRun, StartedAgainWithOtherKeysIsLeftAsItIsAndSaysWhatToSet) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  const Arguments six = {"max_steps=6", "save_strategy=steps"};
  job.run("out", six);
  const auto before = job.contents("out");
  for (const Arguments& other : {Arguments{"max_steps=2"}, {"max_steps=6", "learning_rate=0.5"}}) {
    const ProcessResult result = job.run("out", six + other);
    EXPECT_EQ(result.error_lines((job / "out/checkpoint-6: the run is finished at step 6 of ").string()).size(), 1U)
        << result.err;
    EXPECT_EQ(result.err.find("trained 6 steps"), std::string::npos);
    EXPECT_NE(result.err.find("raise max_steps or num_train_epochs to go on"), std::string::npos);
    EXPECT_TRUE(job.contents("out") == before);
  }
}

TEST(FinishedRun, WritesAFinalModelThatIsNotThereWithoutItsSettings) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  const Arguments six = {"max_steps=6", "save_strategy=steps"};
  job.run("out", six);
  const std::string model = read_file(job / "out/model.safetensors"), config = read_file(job / "out/config.yaml");
  for (const char* name : {"model.safetensors", "final_model.json"}) std::filesystem::remove(job / "out" / name);
  const ProcessResult result = job.run("out", six + Arguments{"learning_rate=0.5", "max_steps=2"});
  EXPECT_NE(result.err.find("6 steps done, none left"), std::string::npos) << result.err;
  EXPECT_TRUE(read_file(job / "out/model.safetensors") == model);
  EXPECT_EQ(read_file(job / "out/config.yaml"), config);
}

/// Stops the run by a signal as soon as `lines` are in metrics.jsonl.
ProcessResult stop_at(const TrainingJob& job, const std::string& run, const Arguments& overrides, int64_t lines) {
  const auto process = start_until(job, run, overrides, lines);
  process->send(SIGTERM);
  return process->wait();
}

TEST(StoppedRun, LeavesAnEvaluationThatWasDueToTheResumedOne) {
  const TrainingJob job;
  job.write_data(random_samples(70, 11));
  const Arguments overrides = {"max_steps=6",  "val_size=4",         "eval_strategy=steps",
                               "eval_steps=1", "eval_on_start=true", "save_strategy=steps"};
  job.run("whole", overrides);
  ASSERT_EQ(job.metrics("whole").size(), 13U);
  const ProcessResult stopped = stop_at(job, "stopped", overrides, 2);
  EXPECT_EQ(stopped.exit_code, 130) << stopped.err;
  job.run("stopped", overrides);
  EXPECT_EQ(comparable(job.metrics("stopped")), comparable(job.metrics("whole")));
}

TEST(StoppedRun, SavesWhenItsTerminalIsClosedAndGoesOnUnderNohup) {
  const TrainingJob job;
  job.write_data(random_samples(70, 11));
  const auto process = start_until(job, "closed", {"max_steps=500"}, 2);
  process->send(SIGHUP);
  const ProcessResult closed = process->wait();
  EXPECT_EQ(closed.exit_code, 130) << closed.err;
  EXPECT_EQ(job.files("closed", "checkpoint-").size(), 1U) << closed.err;

  std::signal(SIGHUP, SIG_IGN);  // as nohup leaves it to the program
  const auto ignoring = start_until(job, "nohup", {"max_steps=20"}, 2);
  std::signal(SIGHUP, SIG_DFL);
  ignoring->send(SIGHUP);
  EXPECT_EQ(ignoring->wait().exit_code, 0);
  EXPECT_EQ(job.steps_logged("nohup"), 20);
}

TEST(StoppedRun, TakesASecondSignalRightAfterTheFirstForTheSameOne) {
  const TrainingJob job;
  job.write_data(random_samples(70, 11));
  const auto process = start_until(job, "out", {"max_steps=500"}, 2);
  process->send(SIGINT);
  process->send(SIGTERM);
  process->send(SIGINT);
  const ProcessResult result = process->wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_EQ(job.files("out", "checkpoint-").size(), 1U) << result.err;
  const Json state = Json::parse(read_file(job / "out/trainer_state.json"));
  EXPECT_EQ(state.at("step"), job.metrics("out").back().at("step"));
}

INSTANTIATE_TEST_SUITE_P(Types, Resume, testing::Values("float32", "bfloat16"),
                         [](const auto& type) { return type.param; });

}  // namespace
}  // namespace qtune
