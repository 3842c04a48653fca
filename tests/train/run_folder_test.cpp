// What a run's folder lets happen to itself, and what is written to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/training_job.h"

namespace qtune {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

const Arguments kTwoSteps = {"max_steps=2"};

class RunFolder : public testing::Test {
 protected:
  RunFolder() { job_.write_data(random_samples(20, 3)); }

  TrainingJob job_;
};

TEST_F(RunFolder, FinishedRunIsNotWrittenOver) {
  job_.run("out", kTwoSteps);
  const std::string metrics = read_file(job_ / "out/metrics.jsonl");
  expect_one_error(run_process(job_.train("out", kTwoSteps)), 2, "already holds a run ---> overwrite_output_dir: true");
  EXPECT_EQ(read_file(job_ / "out/metrics.jsonl"), metrics);
  job_.run("out", kTwoSteps + Arguments{"overwrite_output_dir=true"});
}

TEST_F(RunFolder, RunKilledBeforeItsFirstCheckpointStartsAnew) {
  QtuneProcess first(job_.train("out", {"max_steps=100000"}));
  ASSERT_TRUE(first.wait_until([&] { return job_.steps_logged("out") >= 1; }));
  first.send(SIGKILL);
  first.wait();
  const ProcessResult second = job_.run("out", kTwoSteps);
  EXPECT_THAT(second.err, HasSubstr("ended before its first checkpoint"));
  EXPECT_EQ(job_.metrics("out").size(), 2U);
}

TEST_F(RunFolder, SecondRunInTheSameFolderIsRefusedWhileTheFirstLives) {
  const Arguments many = {"max_steps=100000"};
  QtuneProcess first(job_.train("out", many));
  ASSERT_TRUE(first.wait_until([&] { return job_.steps_logged("out") >= 1; }));
  const Arguments anew = kTwoSteps + Arguments{"overwrite_output_dir=true"};
  expect_one_error(run_process(job_.train("out", anew)), 2, "in use by another run");
  first.send(SIGKILL);
  first.wait();
  job_.run("out", anew);
}

TEST_F(RunFolder, EvaluationAtTheStartNeedsNoStrategyAndOneSampleHasNoError) {
  job_.run("out", kTwoSteps + Arguments{"val_size=1", "eval_on_start=true"});
  const auto metrics = job_.metrics("out");
  ASSERT_EQ(metrics.size(), 3U);
  EXPECT_TRUE(metrics[0].contains("eval_loss"));
  EXPECT_TRUE(metrics[0].at("eval_loss_stderr").is_null());
}

TEST_F(RunFolder, LogFileHasWhatWasSaidBeforeAndTheProgress) {
  job_.run("out", kTwoSteps + Arguments{"packing=true"});
  const std::string log = read_file(job_ / "out/train.log");
  for (const char* part :
       {"note: ", "data.jsonl: 20 samples", "plan: 2 steps", "step 2/2 | loss ", "trained 2 steps"}) {
    EXPECT_THAT(log, HasSubstr(part));
  }
}

TEST_F(RunFolder, DefaultCutoffLenAboveTheModelsPositionsIsNoWarning) {
  EXPECT_EQ(job_.run("given", kTwoSteps + Arguments{"cutoff_len=100000"}).error_lines("warning: cutoff_len").size(),
            1U);
  std::string config = read_file(job_ / "config.yaml");
  config.erase(config.find("cutoff_len"), std::string("cutoff_len: 512\n").size());
  const std::filesystem::path file = job_ / "default.yaml";
  write_file_atomic(file, config);
  const ProcessResult result =
      run_process(Arguments{"train", "--config", file.string(), "output_dir=" + (job_ / "out").string()} + kTwoSteps);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.error_lines("warning: "), IsEmpty());
}

}  // namespace
}  // namespace qtune
