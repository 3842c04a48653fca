#include "qtune/metrics/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/event_file.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::ElementsAre;

StepMetrics step_metrics(int64_t step) {
  StepMetrics m{.step = step, .epoch = 0.25, .loss = 1.3, .grad_norm = 0.7, .learning_rate = 1e-4};
  m.tokens_seen = 100;
  m.kept_samples[Quadrant::kMisconception] = 3;
  m.alpha = 0.245;
  m.seconds.train = 2;
  m.peak_memory_bytes = int64_t{1} << 35;
  return m;
}

std::vector<SampleDecision> judged(std::vector<double> perplexities) {
  std::vector<SampleDecision> samples;
  for (const double ppl : perplexities) samples.push_back({.perplexity = ppl, .entropy = ppl / 2});
  return samples;
}

std::vector<WireMessage> events_of(const TensorBoardWriter& writer) { return read_events(read_file(writer.path())); }

TEST(TensorBoard, FileIsNamedAsTensorBoardLooksForIt) {
  const TempDir folder;
  const TensorBoardWriter writer(folder.path());
  EXPECT_THAT(writer.path().filename().string(),
              testing::MatchesRegex(R"(events\.out\.tfevents\.[0-9]{10}\..+\.[0-9]+\.0)"));
}

TEST(TensorBoard, FileBeginsWithItsVersion) {
  const TempDir folder;
  const TensorBoardWriter writer(folder.path());
  EXPECT_THAT(events_of(writer).at(0).texts.at(3), ElementsAre("brain.Event:2"));
}

TEST(TensorBoard, StepsNumbersAreScalarsOfItsStep) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  writer.write(step_metrics(7));
  const auto scalars = scalars_of(events_of(writer));
  for (const auto& [tag, expected] : {std::pair{"train/loss", 1.3F}, std::pair{"train/learning_rate", 1e-4F},
                                      std::pair{"train/kept_samples/Q2", 3.0F}, std::pair{"train/alpha", 0.245F},
                                      std::pair{"train/seconds/train", 2.0F}, std::pair{"train/tokens_seen", 100.0F},
                                      std::pair{"train/peak_memory_bytes", 0x1p35F}}) {
    ASSERT_EQ(scalars.at(tag).size(), 1U) << tag;
    EXPECT_EQ(scalars.at(tag)[0].step, 7) << tag;
    EXPECT_EQ(scalars.at(tag)[0].value, expected) << tag;
  }
}

TEST(TensorBoard, WhatIsNullInTheMetricsIsNotWritten) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  StepMetrics m = step_metrics(1);
  m.loss = std::nan("");
  m.alpha.reset();
  writer.write(m);
  const auto scalars = scalars_of(events_of(writer));
  EXPECT_FALSE(scalars.contains("train/loss"));
  EXPECT_FALSE(scalars.contains("train/alpha"));
  EXPECT_TRUE(scalars.contains("train/grad_norm"));
}

TEST(TensorBoard, EvaluationIsATagGroupOfItsOwn) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  writer.write(EvalMetrics{.step = 3, .eval_loss = 2.5, .eval_samples = 4});
  const auto scalars = scalars_of(events_of(writer));
  EXPECT_EQ(scalars.at("eval/loss")[0].value, 2.5F);
  EXPECT_EQ(scalars.at("eval/loss")[0].step, 3);
  EXPECT_EQ(scalars.at("eval/samples")[0].value, 4.0F);
}

TEST(TensorBoard, HistogramHoldsEveryFiniteScoreOnce) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  writer.write(step_metrics(1), judged({2, 4, 4, 5e34, std::nan("")}));
  const auto values = values_of(events_of(writer), "scores/perplexity");
  ASSERT_EQ(values.size(), 1U);
  const WireMessage histogram(values[0].texts.at(5).at(0));
  EXPECT_EQ(histogram.real(1), 2);
  EXPECT_EQ(histogram.real(2), 5e34);
  EXPECT_EQ(histogram.real(3), 4);
  EXPECT_EQ(histogram.real(4), 10 + 5e34);
  double total = 0;
  for (const double count : histogram.reals(7)) total += count;
  EXPECT_EQ(total, 4);
}

TEST(TensorBoard, EachScoreLiesBelowItsBucketsLimitAndAboveTheOneBefore) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  writer.write(step_metrics(1), judged({0, 3, 1000}));
  const WireMessage histogram(values_of(events_of(writer), "scores/perplexity").at(0).texts.at(5).at(0));
  const std::vector<double> limits = histogram.reals(6), counts = histogram.reals(7);
  // 0 | nothing | 3 | nothing | 1000
  ASSERT_THAT(counts, ElementsAre(1, 0, 1, 0, 1));
  EXPECT_TRUE(limits[1] < 3 && 3 <= limits[2] && limits[2] < 3 * 1.1);
  EXPECT_TRUE(limits[3] < 1000 && 1000 <= limits[4] && limits[4] < 1100);
}

TEST(TensorBoard, WithoutScoresThereIsNoHistogram) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  writer.write(step_metrics(1), judged({std::nan("")}));
  EXPECT_TRUE(values_of(events_of(writer), "scores/perplexity").empty());
}

TEST(TensorBoard, TextIsAStringTensorOfTheTextPlugin) {
  const TempDir folder;
  TensorBoardWriter writer(folder.path());
  writer.write_text(5, "note", "gr\u00fc\u00df dich");
  const auto values = values_of(events_of(writer), "note");
  ASSERT_EQ(values.size(), 1U);
  const WireMessage tensor(values[0].texts.at(8).at(0)), metadata(values[0].texts.at(9).at(0));
  EXPECT_EQ(tensor.numbers.at(1).at(0), 7U);  // DT_STRING
  EXPECT_THAT(tensor.texts.at(8), ElementsAre("gr\u00fc\u00df dich"));
  EXPECT_THAT(WireMessage(metadata.texts.at(1).at(0)).texts.at(1), ElementsAre("text"));
}

TEST(TensorBoard, ResumedRunsFileVoidsTheStepsItDoesAgain) {
  const TempDir folder;
  const TensorBoardWriter first(folder.path()), second(folder.path(), 4);
  const WireMessage start = events_of(second).at(1);
  EXPECT_EQ(start.numbers.at(2).at(0), 4U);
  EXPECT_EQ(WireMessage(start.texts.at(7).at(0)).numbers.at(1).at(0), 1U);  // SessionLog.START
  EXPECT_TRUE(std::filesystem::exists(first.path()));
}

TEST(TensorBoard, LaterStartsFileSortsBehindEvenInTheSameSecond) {
  const TempDir folder;
  std::filesystem::path last;
  for (int64_t step : {0, 2, 4, 6}) {
    const TensorBoardWriter writer(folder.path(), step);
    EXPECT_LT(last, writer.path());
    last = writer.path();
  }
}

TEST(TensorBoard, NewRunRemovesTheEventFilesOfTheOldOne) {
  const TempDir folder;
  const std::filesystem::path old = TensorBoardWriter(folder.path()).path();
  const TensorBoardWriter writer(folder.path());
  EXPECT_FALSE(std::filesystem::exists(old) && old != writer.path());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(TensorBoard, FolderThatCannotBeWrittenToIsNamed) {
  try {
    const TensorBoardWriter writer("/proc");
    FAIL() << "expected an error";
  } catch (const CheckpointError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("/proc/events.out.tfevents."));
  }
}

}  // namespace
}  // namespace qtune
