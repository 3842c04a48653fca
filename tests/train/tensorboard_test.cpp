// report_to: tensorboard, as a run writes it.
#include <gtest/gtest.h>

#include <set>

#include "support/event_file.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

std::vector<std::vector<WireMessage>> event_files(const TrainingJob& job, const std::string& run) {
  std::vector<std::vector<WireMessage>> files;
  for (const std::string& name : job.files(run, "events.out.tfevents."))
    files.push_back(read_events(read_file(job / run / name)));
  return files;
}

/// What TensorBoard shows: a file's START voids the steps from its own on in the files before.
std::map<std::string, std::map<int64_t, float>> shown_scalars(const std::vector<std::vector<WireMessage>>& files) {
  std::map<std::string, std::map<int64_t, float>> shown;
  for (const auto& events : files) {
    const auto first_step = static_cast<int64_t>(events.at(1).numbers.at(2).at(0));
    for (auto& [tag, points] : shown) points.erase(points.lower_bound(first_step), points.end());
    for (const auto& [tag, points] : scalars_of(events)) {
      for (const auto& [step, value] : points) {
        EXPECT_TRUE(shown[tag].emplace(step, value).second) << tag << " twice at step " << step;
      }
    }
  }
  return shown;
}

TEST(ReportToTensorBoard, ScalarsAreTheNumbersOfTheMetrics) {
  const TrainingJob job;
  job.write_data(random_samples(40, 3));
  job.run("out", kQtuningHalf + Arguments{"max_steps=6", "report_to=tensorboard", "logging_steps=2", "val_size=4",
                                          "eval_strategy=steps", "eval_steps=3"});
  const auto files = event_files(job, "out");
  ASSERT_EQ(files.size(), 1U);
  const auto shown = shown_scalars(files);
  EXPECT_EQ(shown.at("train/loss").size(), 3U);
  EXPECT_EQ(shown.at("eval/loss").size(), 2U);
  for (const Json& line : job.metrics("out")) {
    const int64_t step = line.at("step");
    if (line.contains("eval_loss")) {
      EXPECT_EQ(shown.at("eval/loss").at(step), line.at("eval_loss").get<float>());
    } else if (step % 2 == 0) {
      EXPECT_EQ(shown.at("train/loss").at(step), line.at("loss").get<float>());
      EXPECT_EQ(shown.at("train/kept_samples/Q4").at(step), line.at("kept_samples").at("Q4").get<float>());
      EXPECT_EQ(shown.at("train/seconds/score").at(step), line.at("seconds").at("score").get<float>());
    }
  }
}

TEST(ReportToTensorBoard, KilledRunGoesOnWithoutAStepTwice) {
  const TrainingJob job;
  job.write_data(random_samples(40, 3));
  const Arguments overrides =
      kQtuningHalf + Arguments{"max_steps=40", "report_to=tensorboard", "save_strategy=steps", "save_steps=4"};
  QtuneProcess process(job.train("out", overrides));
  ASSERT_TRUE(process.wait_until([&] { return job.steps_logged("out") >= 7; })) << process.wait().err;
  process.send(SIGKILL);
  process.wait();
  job.run("out", overrides);
  const auto files = event_files(job, "out");
  ASSERT_EQ(files.size(), 2U);
  const auto losses = shown_scalars(files).at("train/loss");
  EXPECT_EQ(losses.size(), 40U);
  for (const Json& line : job.metrics("out"))
    EXPECT_EQ(losses.at(line.at("step").get<int64_t>()), line.at("loss").get<float>());
}

TEST(ReportToTensorBoard, KeptSampleIsShownWithItsTokensInTheLossMarked) {
  const TrainingJob job;
  job.write_data(random_samples(16, 3));
  job.run("out", kQtuningHalf + Arguments{"max_steps=1", "report_to=all"});
  const auto values = values_of(event_files(job, "out").at(0), "first_kept_sample");
  ASSERT_EQ(values.size(), 1U);
  const std::string text = WireMessage(values[0].texts.at(8).at(0)).texts.at(8).at(0);
  for (const Json& line : job.decisions("out")) {
    if (!line.at("kept").get<bool>()) continue;
    EXPECT_NE(text.find(line.at("id").get<std::string>()), std::string::npos) << text;
    EXPECT_NE(text.find(fmt::format("{} of ", line.at("kept_tokens").size())), std::string::npos) << text;
    break;
  }
  EXPECT_NE(text.rfind("\u27e6"), text.find("\u27e6")) << text;  // the explanation's, and the tokens'
  EXPECT_NE(text.rfind("\u27e6"), std::string::npos) << text;
}

TEST(ReportToTensorBoard, OtherTrackersGetNoFile) {
  const TrainingJob job;
  job.write_data(random_samples(16, 3));
  const ProcessResult result = job.run("out", {"max_steps=1", "report_to=wandb"});
  EXPECT_TRUE(job.files("out", "events.out").empty());
  EXPECT_NE(result.err.find("report_to: no effect: 'wandb'"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace qtune
