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

}  // namespace
}  // namespace qtune
