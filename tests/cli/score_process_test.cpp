// qtune score and what takes its output, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/broken_model.h"
#include "support/dead_process.h"
#include "support/generation_model.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class ScoreCommand : public testing::Test {
 protected:
  /// Scores data.jsonl into `out`; more arguments behind.
  ProcessResult score(const std::string& out, const Arguments& more = {}) {
    return run_process(
        Arguments{"score", "--model", job_.model().string(), "--data", job_.data(), "--out", (job_ / out).string()} +
        more);
  }
  std::vector<Json> lines(const std::string& out) const { return read_json_lines(job_ / out); }

  TrainingJob job_;
};

TEST_F(ScoreCommand, WritesALineASampleInTheOrderOfTheFile) {
  const std::vector<Json> samples = random_samples(21, 8);
  job_.write_data(samples);
  const ProcessResult result = score("s.jsonl", {"--batch-size", "4"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "");
  const std::vector<Json> scores = lines("s.jsonl");
  ASSERT_EQ(scores.size(), samples.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    const Json &s = scores[i], &labels = samples[i]["labels"];
    EXPECT_EQ(s.at("id"), samples[i]["id"]);
    std::vector<size_t> positions;
    for (size_t k = 1; k < labels.size(); ++k) {
      if (labels[k] != -100) positions.push_back(k);
    }
    EXPECT_EQ(s.at("positions"), Json(positions));
    EXPECT_EQ(s.at("nll").size(), positions.size());
    EXPECT_EQ(s.at("entropy").size(), positions.size());
    EXPECT_EQ(s.at("span").front(), 0);
    EXPECT_EQ(s.at("span").back(), 1) << "two answers";
    EXPECT_EQ(s.at("end_of_turn").back(), true);
    EXPECT_EQ(std::count(s["end_of_turn"].begin(), s["end_of_turn"].end(), Json(true)), 2);
    EXPECT_GT(s.at("ppl"), 1.0);
    EXPECT_GT(s.at("mean_entropy"), 0.0);
  }
}

TEST_F(ScoreCommand, SampleWithoutATrainedTokenHasEmptyArraysAndIsSkippedBySelect) {
  write_file_atomic(job_.data(),
                    "{\"input_ids\": [3, 4, 5]}\n{\"input_ids\": [3, 4], \"labels\": [-100, -100]}\n"
                    "{\"input_ids\": [7, 8, 9, 10]}\n");
  ASSERT_EQ(score("s.jsonl").exit_code, 0);
  const Json empty = lines("s.jsonl").at(1);
  EXPECT_EQ(empty.at("id"), job_.data() + ":2");
  for (const char* key : {"nll", "entropy", "positions", "span", "end_of_turn"})
    EXPECT_EQ(empty.at(key), Json::array());
  EXPECT_EQ(empty.at("ppl"), nullptr);
  EXPECT_EQ(empty.at("mean_entropy"), nullptr);

  const ProcessResult result = run_process({"select", (job_ / "s.jsonl").string(), "--sample-keep", "1"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 2);
  EXPECT_THAT(result.err, HasSubstr("data.jsonl:2"));
}

TEST_F(ScoreCommand, TwoRunsWriteTheSameBytes) {
  job_.write_data(random_samples(12, 8));
  for (const std::string dtype : {"float32", "bfloat16"}) {
    ASSERT_EQ(score("a.jsonl", {"--dtype", dtype}).exit_code, 0);
    ASSERT_EQ(score("b.jsonl", {"--dtype", dtype}).exit_code, 0);
    EXPECT_EQ(read_file(job_ / "a.jsonl"), read_file(job_ / "b.jsonl")) << dtype;
  }
}

TEST_F(ScoreCommand, ConfigScoresTheSamplesOfATraining) {
  job_.write_data(random_samples(12, 8));
  job_.train("out");  // writes config.yaml
  ASSERT_EQ(score("data.scores").exit_code, 0);
  const ProcessResult result =
      run_process({"score", "--model", job_.model().string(), "--config", (job_ / "config.yaml").string(), "--out",
                   (job_ / "config.scores").string()});
  EXPECT_EQ(result.exit_code, 2) << "the config has no output_dir";
  write_file_atomic(job_ / "config.yaml", read_file(job_ / "config.yaml") + "output_dir: out\n");
  const ProcessResult again =
      run_process({"score", "--model", job_.model().string(), "--config", (job_ / "config.yaml").string(), "--out",
                   (job_ / "config.scores").string()});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(read_file(job_ / "config.scores"), read_file(job_ / "data.scores"));
}

TEST_F(ScoreCommand, SampleBeyondTheModelsPositionsIsScoredWhole) {
  write_json_lines(job_.data(), {{{"input_ids", std::vector<int>(600, 7)}}});
  const ProcessResult result = score("s.jsonl");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.error_lines("warning: ").size(), 0U) << result.err;
  EXPECT_EQ(lines("s.jsonl").at(0).at("nll").size(), 599U);
}

TEST_F(ScoreCommand, NumberIdStaysANumberAndTextStaysText) {
  write_json_lines(job_.data(), {{{"id", 7}, {"input_ids", {3, 4, 5}}}, {{"id", "7"}, {"input_ids", {3, 4, 5}}}});
  ASSERT_EQ(score("s.jsonl").exit_code, 0);
  EXPECT_EQ(lines("s.jsonl").at(0).at("id"), Json(7));
  EXPECT_EQ(lines("s.jsonl").at(1).at("id"), Json("7"));
}

TEST_F(ScoreCommand, ConfigTakesOverridesAndItsNotesAreLogged) {
  job_.write_data(random_samples(12, 8));
  job_.train("out");  // writes config.yaml
  write_file_atomic(job_ / "config.yaml", read_file(job_ / "config.yaml") + "plot_loss: true\n");
  const Arguments with_config = {"score",
                                 "--model",
                                 job_.model().string(),
                                 "--config",
                                 (job_ / "config.yaml").string(),
                                 "--out",
                                 (job_ / "s.jsonl").string()};
  const ProcessResult result = run_process(with_config + Arguments{"output_dir=out", "max_samples=5"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("plot_loss"));
  EXPECT_EQ(lines("s.jsonl").size(), 5U);
  expect_one_error(run_process(with_config + Arguments{"--template", "chatml"}), 2, "--template");
  expect_one_error(score("s.jsonl", {"max_samples=5"}), 2, "--config");
}

TEST_F(ScoreCommand, ScoreThatIsNotFiniteStopsAndLeavesNoFile) {
  const TempDir model;
  fixture_with_nan_embedding(9, model.path());
  write_json_lines(job_.data(),
                   {{{"id", "good"}, {"input_ids", {3, 4, 5}}}, {{"id", "bad"}, {"input_ids", {3, 9, 5}}}});
  expect_one_error(run_process({"score", "--model", model.path().string(), "--data", job_.data(), "--batch-size", "1",
                                "--out", (job_ / "s.jsonl").string()}),
                   6, "bad: expected finite scores");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(job_ / "."), {}), 1) << "the data alone";
}

TEST_F(ScoreCommand, WhatItReadsIsNeverWrittenOver) {
  job_.write_data(random_samples(4, 8));
  job_.train("out");  // writes config.yaml
  const std::string before = read_file(job_.data());
  expect_one_error(score("data.jsonl"), 2, "--out: " + job_.data() + ": expected a file of its own, found ");
  expect_one_error(score("./data.jsonl"), 2, "expected a file of its own");
  std::filesystem::create_symlink(job_.data(), job_ / "link.jsonl");
  expect_one_error(score("link.jsonl"), 2, "expected a file of its own");
  for (const std::string name : {"data.jsonl", "config.yaml"}) {
    expect_one_error(
        run_process({"score", "--model", job_.model().string(), "--config", (job_ / "config.yaml").string(), "--out",
                     (job_ / name).string(), "output_dir=" + (job_ / "out").string()}),
        2, name + ": expected a file of its own");
  }
  EXPECT_EQ(read_file(job_.data()), before);
}

TEST_F(ScoreCommand, FilesOfTheModelAreNotWrittenOver) {
  const GenerationModel model;
  job_.write_data(random_samples(4, 8));
  std::filesystem::create_directory_symlink(model.path(), job_ / "model");
  for (const std::string name : {"config.json", "model.safetensors", "tokenizer.json"}) {
    const std::string before = read_file(model / name);
    const std::string out = (job_ / "model" / name).string();
    expect_one_error(run_process({"score", "--model", model.string(), "--data", job_.data(), "--out", out}), 2,
                     "expected no file, or one with scores to replace");
    EXPECT_EQ(read_file(model / name), before);
  }
}

TEST_F(ScoreCommand, OnlyScoresAreReplaced) {
  job_.write_data(random_samples(4, 8));
  write_file_atomic(job_ / "notes.txt", "kept\n");
  write_json_lines(job_ / "other.jsonl", {{{"input_ids", {3, 4, 5}}}});
  for (const std::string name : {"notes.txt", "other.jsonl"})
    expect_one_error(score(name), 2, name + ": expected no file, or one with scores to replace");
  EXPECT_EQ(read_file(job_ / "notes.txt"), "kept\n");
  write_file_atomic(job_ / "s.jsonl", "");
  EXPECT_EQ(score("s.jsonl").exit_code, 0) << "an empty file";
  EXPECT_EQ(score("s.jsonl").exit_code, 0) << "its own";
  EXPECT_EQ(lines("s.jsonl").size(), 4U);
}

TEST_F(ScoreCommand, ASignalEndsItInOneLineAndLeavesNoFile) {
  write_json_lines(job_.data(), std::vector<Json>(2000, {{"input_ids", std::vector<int>(400, 7)}}));
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string out = (job_ / "s.jsonl").string();
    QtuneProcess process({"score", "--model", job_.model().string(), "--data", job_.data(), "--out", out});
    const auto has_scores = [&] {
      for (const auto& entry : std::filesystem::directory_iterator(job_ / ".")) {
        std::error_code gone;
        if (entry.path().filename().string().starts_with("s.jsonl.tmp-") && entry.file_size(gone) > 0 && !gone)
          return true;
      }
      return false;
    };
    ASSERT_TRUE(process.wait_until(has_scores));
    process.send(signal);
    expect_one_error(process.wait(), 130, " of 2000 samples, nothing is kept ---> run it again");
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(job_ / "."), {}), 1) << "the data alone";
  }
}

TEST_F(ScoreCommand, WhatAKilledOneLeftIsRemoved) {
  job_.write_data(random_samples(4, 8));
  const std::string left = fmt::format("{}.tmp-{}-0", (job_ / "s.jsonl").string(), dead_process());
  write_file_atomic(left, "{");
  EXPECT_EQ(score("s.jsonl").exit_code, 0);
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST_F(ScoreCommand, AFullDiskIsNoBugAndLeavesNoFile) {
  job_.write_data(random_samples(100, 8));
  const Arguments arguments = {"score", "--model", job_.model().string(), "--data", job_.data(), "--out"};
  const ProcessResult result = run_process(arguments + Arguments{(job_ / "s.jsonl").string()},
                                           {.file_limit_bytes = 40'000, .environment = {"QTUNE_CACHE="}});
  expect_one_error(result, 4, "s.jsonl: cannot write: ");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(job_ / "."), {}), 1) << "the data alone";
}

TEST_F(ScoreCommand, HelpNamesEveryKindOfFile) {
  EXPECT_THAT(run_process({"score", "--help"}).out, HasSubstr(".jsonl, .json, .parquet"));
}

TEST_F(ScoreCommand, ErrorsAreOneLineAndLeaveNoFile) {
  write_file_atomic(job_.data(), "{\"input_ids\": [3, 4, 5]}\n{\"input_ids\": \"x\"}\n");
  expect_one_error(score("s.jsonl"), 3, "data.jsonl:2: ");
  job_.write_data(random_samples(4, 8));
  expect_one_error(score("none/s.jsonl"), 2, "--out: " + (job_ / "none/s.jsonl").string() + ": cannot create");
  expect_one_error(score("s.jsonl", {"--dtype", "int8"}), 2, "int8");
  expect_one_error(
      run_process({"score", "--model", "none", "--data", job_.data(), "--out", (job_ / "s.jsonl").string()}), 4,
      "none/config.json: expected the model's config, found no such file");
  expect_one_error(run_process({"score", "--model", job_.model().string(), "--out", "x"}), 2, "--data");
  EXPECT_FALSE(std::filesystem::exists(job_ / "s.jsonl"));
}

}  // namespace
}  // namespace qtune
