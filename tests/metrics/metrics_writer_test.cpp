#include "qtune/metrics/metrics_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

StepMetrics step_metrics(int64_t step) {
  StepMetrics m{.step = step, .epoch = 0.25, .loss = 1.5, .grad_norm = 0.75, .learning_rate = 1e-4};
  m.tokens_seen = 100;
  m.tokens_scored = 90;
  m.tokens_trained = 10;
  m.kept_samples[Quadrant::kMisconception] = 3;
  m.kept_samples[Quadrant::kMiddle] = 1;
  m.alpha = 0.245;
  m.seconds = {.score = 1, .decide = 0.5, .train = 2, .optimizer = 0.25, .other = 0.125};
  m.peak_memory_bytes = 1 << 20;
  return m;
}

TEST(MetricsWriter, StepLineHasTheDocumentedKeys) {
  const TempDir folder;
  MetricsWriter writer(folder.path());
  writer.write(step_metrics(7));
  EXPECT_EQ(read_file(folder / "metrics.jsonl"),
            R"({"step":7,"epoch":0.25,"loss":1.5,"grad_norm":0.75,"learning_rate":0.0001,"tokens_seen":100,)"
            R"("tokens_scored":90,"tokens_trained":10,"kept_samples":{"Q1":0,"Q2":3,"Q3":0,"Q4":0,"mid":1},)"
            R"("alpha":0.245,"seconds":{"score":1.0,"decide":0.5,"train":2.0,"optimizer":0.25,"other":0.125},)"
            R"("peak_memory_bytes":1048576})"
            "\n");
}

TEST(MetricsWriter, EvaluationLineHasItsLoss) {
  const TempDir folder;
  MetricsWriter writer(folder.path());
  writer.write(EvalMetrics{.step = 3,
                           .epoch = 1,
                           .eval_loss = 2.5,
                           .eval_loss_stderr = 0.125,
                           .eval_samples = 4,
                           .eval_tokens = 40,
                           .eval_seconds = 1});
  EXPECT_EQ(
      read_file(folder / "metrics.jsonl"),
      R"({"step":3,"epoch":1.0,"eval_loss":2.5,"eval_loss_stderr":0.125,"eval_samples":4,"eval_tokens":40,"eval_seconds":1.0})"
      "\n");
}

TEST(MetricsWriter, NumbersThatAreNotFiniteAreNull) {
  const TempDir folder;
  MetricsWriter writer(folder.path());
  StepMetrics m = step_metrics(1);
  m.loss = std::nan("");
  m.grad_norm = std::numeric_limits<double>::infinity();
  m.alpha.reset();
  writer.write(m);
  const auto line = nlohmann::json::parse(read_file(folder / "metrics.jsonl"));
  EXPECT_TRUE(line["loss"].is_null());
  EXPECT_TRUE(line["grad_norm"].is_null());
  EXPECT_TRUE(line["alpha"].is_null());
}

TEST(MetricsWriter, ResumedFileEqualsTheUninterruptedOne) {
  const TempDir whole, resumed;
  {
    MetricsWriter writer(whole.path());
    for (int64_t step = 1; step <= 6; ++step) writer.write(step_metrics(step));
  }
  LogPosition checkpoint;
  {
    MetricsWriter writer(resumed.path());
    for (int64_t step = 1; step <= 3; ++step) writer.write(step_metrics(step));
    checkpoint = writer.sync();
    for (int64_t step = 4; step <= 5; ++step) writer.write(step_metrics(step));
  }
  MetricsWriter writer(resumed.path(), checkpoint);
  for (int64_t step = 4; step <= 6; ++step) writer.write(step_metrics(step));
  EXPECT_EQ(read_file(resumed / "metrics.jsonl"), read_file(whole / "metrics.jsonl"));
}

TEST(DecisionLog, LineIsStepAndRankAndTheKeysOfSelect) {
  const TempDir folder;
  DecisionLog log(folder.path());
  const std::vector<SampleDecision> samples = {
      {.id = "a",
       .perplexity = 2.5,
       .entropy = 1,
       .quadrant = Quadrant::kMisconception,
       .kept = true,
       .kept_tokens = {0, 2}},
      {.id = "b", .perplexity = 4, .entropy = 0.5, .quadrant = Quadrant::kRedundant}};
  log.write(9, samples, std::vector<int32_t>{0, 1});
  EXPECT_EQ(
      read_file(folder / "decisions.jsonl"),
      R"({"step":9,"rank":0,"id":"a","ppl":2.5,"entropy":1.0,"quadrant":"Q2","kept":true,"supplement":false,"kept_tokens":[0,2]})"
      "\n"
      R"({"step":9,"rank":1,"id":"b","ppl":4.0,"entropy":0.5,"quadrant":"Q3","kept":false,"supplement":false})"
      "\n");
  EXPECT_THROW(log.write(10, samples, std::vector<int32_t>{0}), Error);
}

TEST(DecisionLog, SamplesOfAStepStayTogether) {
  const TempDir folder;
  DecisionLog log(folder.path(), {}, 10);
  const std::vector<SampleDecision> samples(5, SampleDecision{.id = "a"});
  log.write(1, samples);
  log.write(2, samples);
  const std::string first = read_file(folder / "decisions.jsonl");
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n'), 5);
  EXPECT_EQ(read_file(folder / "decisions.1.jsonl").rfind(R"({"step":2,"rank":0,)", 0), 0u);
}

TEST(QuadrantCounts, OnlyKeptSamplesCount) {
  PruneDecision decision;
  decision.samples = {{.quadrant = Quadrant::kNoise, .kept = true}, {.quadrant = Quadrant::kNoise}, {.kept = true}};
  const QuadrantCounts counts = count_kept(decision);
  EXPECT_EQ(counts[Quadrant::kNoise], 1);
  EXPECT_EQ(counts[Quadrant::kMiddle], 1);
  EXPECT_EQ(counts.total(), 2);
}

}  // namespace
}  // namespace qtune
