// Which checkpoint a run goes on from when some can't be used, and which ones it keeps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/training_job.h"

namespace qtune {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Arguments kSixSteps = {"max_steps=6", "save_strategy=steps", "save_steps=2"};

/// Flips one bit, as a bad disk does.
void flip_bit(const std::filesystem::path& file, std::streamoff offset) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(offset);
  const char byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(offset);
  stream.put(byte);
  ASSERT_TRUE(stream.good());
}

void truncate(const std::filesystem::path& file) {
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
}

class TornCheckpoint : public testing::Test {
 protected:
  TornCheckpoint() {
    job_.write_data(random_samples(20, 3));
    job_.run("out", kSixSteps);
    weights_ = job_.weights("out", 6);
  }
  std::filesystem::path checkpoint(int64_t step) const { return job_ / "out" / fmt::format("checkpoint-{}", step); }

  TrainingJob job_;
  std::string weights_;
};

TEST_F(TornCheckpoint, IsPassedOverWithAWarningForTheOneBefore) {
  flip_bit(checkpoint(6) / "model.safetensors", 100'000);
  truncate(checkpoint(4) / "optimizer.safetensors");
  const ProcessResult result = job_.run("out", kSixSteps);
  EXPECT_EQ(result.error_lines("warning: ").size(), 2U) << result.err;
  EXPECT_THAT(result.err, HasSubstr("checkpoint-6: can't be resumed from: model.safetensors: checksum differs"));
  EXPECT_THAT(result.err, HasSubstr("checkpoint-4: can't be resumed from: optimizer.safetensors has "));
  EXPECT_THAT(result.err, HasSubstr("resuming from " + checkpoint(2).string()));
  EXPECT_TRUE(job_.weights("out", 6) == weights_);
}

TEST_F(TornCheckpoint, WithAFileThatCannotBeReadIsPassedOverToo) {
  std::filesystem::remove(checkpoint(6) / "optimizer.safetensors");
  std::filesystem::create_directory(checkpoint(6) / "optimizer.safetensors");
  const ProcessResult result = job_.run("out", kSixSteps);
  EXPECT_THAT(result.err, HasSubstr("checkpoint-6: can't be resumed from: "));
  EXPECT_THAT(result.err, HasSubstr("resuming from " + checkpoint(4).string()));
  EXPECT_TRUE(job_.weights("out", 6) == weights_);
}

TEST_F(TornCheckpoint, WithoutAWholeOneTheRunStopsInsteadOfStartingAnew) {
  for (const int step : {2, 4}) std::filesystem::remove(checkpoint(step) / "manifest.json");
  truncate(checkpoint(6) / "trainer_state.json");
  const std::string metrics = read_file(job_ / "out/metrics.jsonl");
  expect_one_error(run_process(job_.train("out", kSixSteps)), 4, "set overwrite_output_dir: true to start anew");
  EXPECT_EQ(read_file(job_ / "out/metrics.jsonl"), metrics);

  job_.run("out", kSixSteps + Arguments{"overwrite_output_dir=true"});
  EXPECT_TRUE(job_.weights("out", 6) == weights_);
}

TEST_F(TornCheckpoint, NamedByTheUserItIsAnErrorNamingTheFile) {
  flip_bit(checkpoint(4) / "model.safetensors", 200'000);
  expect_one_error(
      run_process(job_.train("out", kSixSteps + Arguments{"resume_from_checkpoint=" + checkpoint(4).string()})), 4,
      "checkpoint-4: can't be resumed from: model.safetensors: checksum differs");
  expect_one_error(run_process(job_.train("out", {"resume_from_checkpoint=" + (job_ / "out/checkpoint-5").string()})),
                   4, "checkpoint-5: no such folder");
}

TEST_F(TornCheckpoint, ResumingFromANamedOneGivesTheSameBits) {
  const Arguments from_two = kSixSteps + Arguments{"resume_from_checkpoint=" + checkpoint(2).string()};
  const ProcessResult result = job_.run("other", from_two);
  EXPECT_TRUE(job_.weights("other", 6) == weights_);
  EXPECT_EQ(job_.metrics("other").size(), 4U) << "its own steps alone";
  EXPECT_THAT(result.error_lines("warning: "), IsEmpty());
  expect_one_error(run_process(job_.train("other", from_two)), 2, "resume_from_checkpoint: true to go on with it");
}

TEST_F(TornCheckpoint, ResumingFromAnEarlierOneReplacesTheLaterOnes) {
  const Arguments branch = kSixSteps + Arguments{"max_steps=3", "weight_decay=0.2"};
  const ProcessResult result =
      job_.run("out", branch + Arguments{"resume_from_checkpoint=" + checkpoint(2).string() + "/"});
  EXPECT_THAT(result.err, HasSubstr("removed " + checkpoint(6).string() + ".superseded"));
  EXPECT_THAT(job_.files("out", "checkpoint-"), ElementsAre("checkpoint-2", "checkpoint-3"));
  EXPECT_EQ(job_.metrics("out").size(), 3U);
  EXPECT_THAT(job_.run("out", branch).err, HasSubstr(checkpoint(3).string() + ": the run is finished at step 3 of 3"));
}

TEST_F(TornCheckpoint, LaterOnesStayUntilTheBranchHasSavedAndAreNotResumedFrom) {
  const Arguments branch = {"max_steps=100000", "save_strategy=steps", "save_steps=50000"};
  const Arguments from_two = {"resume_from_checkpoint=" + checkpoint(2).string()};
  QtuneProcess process(job_.train("out", branch + from_two));
  ASSERT_TRUE(process.wait_until([&] { return job_.steps_logged("out") == 4; }));
  process.send(SIGKILL);
  process.wait();
  EXPECT_THAT(job_.files("out", "checkpoint-"),
              ElementsAre("checkpoint-2", "checkpoint-4.superseded", "checkpoint-6.superseded"));
  const ProcessResult inspected = run_process({"inspect", (job_ / "out").string()});
  EXPECT_THAT(inspected.out, HasSubstr("final model      of an unknown step")) << "the other branch's";

  const ProcessResult again = job_.run("out", kSixSteps + Arguments{"save_steps=3"});
  EXPECT_THAT(again.err, HasSubstr("resuming from " + checkpoint(2).string()));
  EXPECT_THAT(again.err, HasSubstr("removed " + checkpoint(6).string() + ".superseded"));
  EXPECT_THAT(job_.files("out", "checkpoint-"), ElementsAre("checkpoint-2", "checkpoint-3", "checkpoint-6"));
  EXPECT_TRUE(job_.weights("out", 6) == weights_);
}

TEST_F(TornCheckpoint, LaterOnesAreResumedFromByNameWhileTheyAreSetAside) {
  std::filesystem::rename(checkpoint(6), checkpoint(6).string() + ".superseded");
  const ProcessResult result = job_.run(
      "out", kSixSteps + Arguments{"max_steps=7", "resume_from_checkpoint=" + checkpoint(6).string() + ".superseded"});
  EXPECT_THAT(result.err, HasSubstr("resuming from " + checkpoint(6).string() + ".superseded: 6 of 7 steps done"));
  EXPECT_THAT(job_.files("out", "checkpoint-"), ElementsAre("checkpoint-2", "checkpoint-4", "checkpoint-7"));
}

TEST_F(TornCheckpoint, NamedWithNothingLeftToTrainItChangesNothing) {
  const auto before = job_.contents("out");
  const ProcessResult result =
      job_.run("out", kSixSteps + Arguments{"max_steps=2", "resume_from_checkpoint=" + checkpoint(2).string()});
  EXPECT_THAT(result.err, HasSubstr(checkpoint(2).string() + ": the run is finished at step 2 of 2"));
  EXPECT_TRUE(job_.contents("out") == before);
}

TEST_F(TornCheckpoint, RunsFolderInItsPlaceIsNamedWithItsNewestOne) {
  const std::string newest = "name its newest checkpoint, " + checkpoint(6).string();
  for (const std::string run : {"out", "other"}) {  // going on in place, and into a new folder
    expect_one_error(
        run_process(job_.train(run, kSixSteps + Arguments{"resume_from_checkpoint=" + (job_ / "out").string()})), 4,
        newest);
  }
}

TEST_F(TornCheckpoint, OtherDataIsAnErrorAndAnotherKeyAWarning) {
  std::vector<nlohmann::json> samples = random_samples(20, 3);
  samples[7]["input_ids"][1] = 5;
  job_.write_data(samples);
  expect_one_error(run_process(job_.train("out", kSixSteps)), 4, "hash of the tokenized data");
  job_.write_data(random_samples(19, 3));
  expect_one_error(run_process(job_.train("out", kSixSteps)), 4, "number of samples");
  job_.write_data(random_samples(20, 3));
  expect_one_error(run_process(job_.train("out", kSixSteps + Arguments{"seed=7"})), 4, "seed");
  const ProcessResult result = job_.run("out", kSixSteps + Arguments{"weight_decay=0.2"});
  EXPECT_THAT(result.err, HasSubstr("weight_decay differs"));
}

TEST(UnfinishedFiles, OfAKilledRunAreTakenAwayByTheNextOne) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  const ProcessResult killed =
      run_process(job.train("out", {"max_steps=2"}), {.file_limit_bytes = 100'000, .at_limit = FileLimitAction::kKill});
  ASSERT_EQ(killed.exit_code, 128 + SIGXFSZ) << killed.err;
  ASSERT_EQ(job.files("out", "model.safetensors.tmp-").size(), 1U);
  std::filesystem::create_directory(job / "out/checkpoint-1.tmp");
  job.run("out", {"max_steps=2", "overwrite_output_dir=true"});
  for (const std::string& name : job.files("out")) EXPECT_THAT(name, testing::Not(HasSubstr(".tmp")));
}

TEST(UnfinishedFiles, OfALivingProcessStay) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  std::filesystem::create_directory(job / "out");
  const std::string living = fmt::format("scores.jsonl.tmp-{}-0", ::getpid());
  write_file_atomic(job / "out" / living, "what qtune score has written so far");
  job.run("out", {"max_steps=2"});
  EXPECT_THAT(job.files("out"), testing::Contains(living));
}

TEST(LastStep, IsSavedUnlessNoCheckpointsAreWanted) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  job.run("steps", {"max_steps=3", "save_strategy=steps", "save_steps=2"});
  EXPECT_THAT(job.files("steps", "checkpoint-"), ElementsAre("checkpoint-2", "checkpoint-3"));
  job.run("epoch", {"max_steps=1", "save_strategy=epoch"});
  EXPECT_THAT(job.files("epoch", "checkpoint-"), ElementsAre("checkpoint-1"));
  job.run("no", {"max_steps=1"});
  EXPECT_THAT(job.files("no", "checkpoint-"), IsEmpty());
}

TEST(SaveTotalLimit, KeepsTheNewestCheckpoints) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  job.run("out", {"max_steps=11", "save_strategy=steps", "save_steps=1", "save_total_limit=3"});
  EXPECT_THAT(job.files("out", "checkpoint-"), ElementsAre("checkpoint-10", "checkpoint-11", "checkpoint-9"));
}

TEST(SaveTotalLimit, HoldsWhereARunGoesOnFromAnEarlierOne) {
  const TrainingJob job;
  job.write_data(random_samples(20, 3));
  const Arguments steps = {"max_steps=6", "save_strategy=steps", "save_steps=2"};
  job.run("out", steps);
  job.run("out", steps + Arguments{"max_steps=4", "save_total_limit=1",
                                   "resume_from_checkpoint=" + (job / "out/checkpoint-2").string()});
  EXPECT_THAT(job.files("out", "checkpoint-"), ElementsAre("checkpoint-4"));
}

TEST(SaveOnlyModel, InterruptedItSavesAllTheSame) {
  const TrainingJob job;
  job.write_data(random_samples(60, 3));
  const Arguments run = {"max_steps=40", "save_strategy=steps", "save_steps=10", "save_only_model=true"};
  QtuneProcess process(job.train("out", run + Arguments{"overwrite_output_dir=true"}));
  ASSERT_TRUE(process.wait_until([&] { return job.steps_logged("out") >= 3; }));
  process.send(SIGTERM);
  const ProcessResult stopped = process.wait();
  EXPECT_EQ(stopped.exit_code, 130);
  EXPECT_THAT(stopped.err, HasSubstr("with resume_from_checkpoint=" + (job / "out/checkpoint-").string()));
  const ProcessResult result =
      job.run("out", run + Arguments{"overwrite_output_dir=true", "resume_from_checkpoint=true"});
  EXPECT_THAT(result.err, HasSubstr("resuming from"));
  job.run("whole", run);
  EXPECT_TRUE(job.in_checkpoint("out", 40, "model.safetensors") == job.in_checkpoint("whole", 40, "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(job / "whole/checkpoint-40/optimizer.safetensors"));
}

}  // namespace
}  // namespace qtune
