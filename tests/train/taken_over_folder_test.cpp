// A run that takes over a folder in which another one, or something else, lies: what goes, and what stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/training_job.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const Arguments kAnew = {"overwrite_output_dir=true"};
const Arguments kSaves = {"max_steps=4", "save_strategy=steps", "save_steps=2"};

class TakenOverFolder : public testing::Test {
 protected:
  TakenOverFolder() { job_.write_data(random_samples(20, 3)); }

  /// What another trainer leaves: its state, but no manifest of ours.
  void write_foreign_checkpoint(int64_t step) const {
    const fs::path folder = job_ / "out" / fmt::format("checkpoint-{}", step);
    fs::create_directories(folder);
    write_file_atomic(folder / "trainer_state.json", "{}\n");
    write_file_atomic(folder / "notes.txt", "mine\n");
  }
  std::string notes(const std::string& folder) const { return read_file(job_ / "out" / folder / "notes.txt"); }

  /// Starts it and kills it as soon as it has logged so many lines.
  void kill_at(const Arguments& overrides, int64_t lines) const {
    QtuneProcess process(job_.train("out", overrides));
    ASSERT_TRUE(process.wait_until([&] { return job_.steps_logged("out") == lines; }));
    process.send(SIGKILL);
    process.wait();
  }
  std::string inspected() const {
    const ProcessResult result = run_process({"inspect", (job_ / "out").string()});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }

  TrainingJob job_;
};

TEST_F(TakenOverFolder, LosesTheCheckpointsOfQtuneAloneAndTheLogSaysSo) {
  job_.run("out", kSaves);
  write_foreign_checkpoint(7);
  const ProcessResult result = job_.run("out", kAnew + Arguments{"max_steps=1"});
  EXPECT_THAT(job_.files("out", "checkpoint-"), ElementsAre("checkpoint-7"));
  EXPECT_EQ(notes("checkpoint-7"), "mine\n");
  EXPECT_THAT(result.err, HasSubstr("removed " + (job_ / "out/checkpoint-2").string()));
  EXPECT_THAT(result.err, HasSubstr("removed " + (job_ / "out/checkpoint-4").string()));
  EXPECT_EQ(result.error_lines("warning: " + (job_ / "out/checkpoint-7: left as it is").string()).size(), 1U);
}

TEST_F(TakenOverFolder, KeepsForeignCheckpointsThatItsOwnMeetInNameOrNumber) {
  for (const int64_t step : {1, 4}) write_foreign_checkpoint(step);
  const ProcessResult result = job_.run("out", kAnew + kSaves + Arguments{"save_total_limit=1"});
  EXPECT_THAT(job_.files("out", "checkpoint-"), ElementsAre("checkpoint-1", "checkpoint-4", "checkpoint-4.other-1"));
  EXPECT_EQ(notes("checkpoint-1"), "mine\n");
  EXPECT_EQ(notes("checkpoint-4.other-1"), "mine\n");
  EXPECT_THAT(result.err, HasSubstr("it is now " + (job_ / "out/checkpoint-4.other-1").string()));
}

TEST_F(TakenOverFolder, IsResumedFromItsOwnCheckpointsPastForeignOnes) {
  write_foreign_checkpoint(9);
  job_.run("out", kAnew + kSaves);
  const ProcessResult result = job_.run("out", kSaves + Arguments{"max_steps=6"});
  EXPECT_THAT(result.err, HasSubstr("resuming from " + (job_ / "out/checkpoint-4").string()));
  EXPECT_EQ(result.error_lines("warning: " + (job_ / "out/checkpoint-9: can't be resumed").string()).size(), 1U);
}

TEST_F(TakenOverFolder, StartsAnewBesideForeignCheckpointsWhenKilledBeforeItsFirstOwn) {
  write_foreign_checkpoint(9);
  QtuneProcess first(job_.train("out", kAnew + Arguments{"max_steps=100000"}));
  ASSERT_TRUE(first.wait_until([&] { return job_.steps_logged("out") >= 1; }));
  first.send(SIGKILL);
  first.wait();
  EXPECT_THAT(job_.run("out", kSaves).err, HasSubstr("ended before its first checkpoint"));
  EXPECT_EQ(notes("checkpoint-9"), "mine\n");
}

TEST_F(TakenOverFolder, HasNoFinalModelOfTheRunBefore) {
  for (const std::string kind : {"full", "lora"}) {
    job_.run("out", kAnew + Arguments{"max_steps=4", "finetuning_type=" + kind});
    EXPECT_THAT(inspected(), HasSubstr("final model      written\n"));
    kill_at(kAnew + Arguments{"max_steps=100000"}, 2);
    EXPECT_THAT(inspected(), HasSubstr("final model      not yet\n"));
    EXPECT_THAT(job_.files("out"), Not(Contains(HasSubstr(".safetensors"))));
  }
}

TEST_F(TakenOverFolder, LosesTheReportOfTheRunBefore) {
  job_.run("out", {"max_steps=1"});
  write_file_atomic(job_ / "out/report.html", "old\n");
  job_.run("out", kAnew + Arguments{"max_steps=1"});
  EXPECT_THAT(job_.files("out"), Not(Contains("report.html")));
}

TEST_F(TakenOverFolder, HoldsNoConfigOfTheUsersOwnThatItWouldWriteOver) {
  job_.train("out");  // writes the config
  fs::create_directory(job_ / "out");
  const std::string own = "# mine\n" + read_file(job_ / "config.yaml");
  write_file_atomic(job_ / "out/config.yaml", own);
  const auto train = [&](const Arguments& overrides) {
    return run_process(Arguments{"train", "--config", (job_ / "out/../out/config.yaml").string(),
                                 "output_dir=" + (job_ / "out").string()} +
                       overrides);
  };
  for (const std::string dry_run : {"dry_run=true", "dry_run=false"}) {
    const ProcessResult result = train({"max_steps=1", dry_run});
    expect_one_error(result, 2, "the run would write its settings over --config ");
    EXPECT_THAT(result.err, HasSubstr((job_ / "out").string() + ": the run"));
  }
  EXPECT_EQ(read_file(job_ / "out/config.yaml"), own);
}

TEST_F(TakenOverFolder, MayBeTrainedByTheConfigThatItsRunWrote) {
  job_.run("out", kSaves);
  const ProcessResult result = run_process({"train", "--config", (job_ / "out/config.yaml").string(), "max_steps=6"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("4 of 6 steps done"));
}

TEST_F(TakenOverFolder, KeepsTheFinalModelOfARunThatGoesOnAndSaysWhichStepItIsOf) {
  job_.run("out", kSaves);
  const std::string model = read_file(job_ / "out/model.safetensors");
  kill_at({"max_steps=100000", "lr_scheduler_type=constant"}, 6);
  EXPECT_TRUE(read_file(job_ / "out/model.safetensors") == model);
  EXPECT_THAT(inspected(), testing::ContainsRegex("final model      of step 4; the run is at step [6-9]"));
  job_.run("out", kSaves + Arguments{"max_steps=6"});
  EXPECT_FALSE(read_file(job_ / "out/model.safetensors") == model);
  EXPECT_THAT(inspected(), HasSubstr("final model      written\n"));
}

TEST_F(TakenOverFolder, KnowsThatAFinalModelWasNotSavedToItsEnd) {
  job_.run("out", kSaves);
  const ProcessResult killed = run_process(job_.train("out", {"max_steps=5"}),
                                           {.file_limit_bytes = 100'000, .at_limit = FileLimitAction::kKill});
  ASSERT_EQ(killed.exit_code, 128 + SIGXFSZ) << killed.err;
  EXPECT_THAT(inspected(), HasSubstr("final model      of an unknown step"));
}

TEST_F(TakenOverFolder, IsNotOneThatAComparedModelIsReadFrom) {
  job_.run("out", {"max_steps=1"});
  const Arguments compared = {"max_steps=1", "pruning.token.method=rho1", "pruning.token.keep=0.5",
                              "pruning.token.reference_model=" + (job_ / "out").string()};
  expect_one_error(run_process(job_.train("out", kAnew + compared)), 2, "this is pruning.token.reference_model");
  EXPECT_THAT(job_.files("out"), Contains("model.safetensors"));
}

}  // namespace
}  // namespace qtune
