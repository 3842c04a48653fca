// Sweeps of real trainings of a tiny model: run, killed, continued.
#include "qtune/sweep/run_sweep.h"

#include <gmock/gmock.h>

#include <memory>

#include "support/generation_model.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using testing::HasSubstr;

constexpr const char* kGrid =
    "grid:\n"
    "  pruning.sample.method: [random, qtuning]\n"
    "  pruning.token.method: [random]\n"
    "seeds: [1, 2]\n";

/// A folder with data, a base config and a sweep's file.
class SweepJob {
 public:
  explicit SweepJob(const std::string& runs = kGrid, const std::string& more_base = "finetuning_type: full\n",
                    const std::filesystem::path& model_folder = {}) {
    write_json_lines(folder_ / "d.jsonl", random_samples(32, 1));
    write_json_lines(folder_ / "e.jsonl", random_samples(6, 2));
    const auto fixture = std::filesystem::path(QTUNE_TEST_DATA) / "models" / "llama_tied";
    const std::string model = (model_folder.empty() ? fixture : model_folder).string();
    write_file_atomic(folder_ / "base.yaml",
                      "model_name_or_path: " + model + "\ndataset: " + (folder_ / "d.jsonl").string() +
                          "\neval_dataset: " + (folder_ / "e.jsonl").string() +
                          "\neval_strategy: epoch\nper_device_train_batch_size: 4\n"
                          "learning_rate: 1.0e-3\nnum_train_epochs: 2\nlogging_steps: 1\nsave_steps: 1\n"
                          "save_total_limit: 1\nuse_cpu: true\n" +
                          more_base);
    write_runs(runs);
  }

  void write_runs(const std::string& runs) const {
    write_file_atomic(folder_ / "s.yaml", "base: base.yaml\noutput_dir: " + (folder_ / "out").string() + "\n" + runs);
  }
  Arguments sweep(const Arguments& more = {}) const {
    return Arguments{"sweep", "--config", (folder_ / "s.yaml").string()} + more;
  }
  std::filesystem::path operator/(const std::string& name) const { return folder_ / name; }

  /// Every run's row without the times and memory, in which no two runs agree.
  std::string rows() const {
    nlohmann::json table = nlohmann::json::parse(read_file(folder_ / "out/results.json"));
    for (nlohmann::json& row : table["rows"]) {
      for (const char* key : {"seconds", "selection_seconds", "peak_memory_bytes"}) row.erase(key);
    }
    return table["rows"].dump();
  }
  std::string table() const { return read_file(folder_ / "out/table.md"); }

 private:
  TempDir folder_;
};

TEST(RunSweep, WritesATableOverSeedsWithArrowsAgainstRandomRandom) {
  const SweepJob job;
  const ProcessResult result = run_process(job.sweep());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const std::string table = job.table();
  EXPECT_THAT(table, HasSubstr("4 of 4 runs finished."));
  EXPECT_THAT(table, HasSubstr("| samples | tokens | eval_loss |"));
  EXPECT_THAT(table, testing::ContainsRegex("\\| random \\| random \\| [*]*[0-9.]+[*]* ± [0-9.]+ \\|"));
  EXPECT_THAT(table, testing::ContainsRegex("\\| qtuning \\| random \\| [*]*[0-9.]+[*]* ± [0-9.]+ (↑|↓) \\|"));
}

TEST(RunSweep, DoesNotRedoFinishedRuns) {
  const SweepJob job;
  ASSERT_EQ(run_process(job.sweep()).exit_code, 0);
  const auto model = job / "out/runs/sample.method=random,token.method=random,seed=1/model.safetensors";
  const auto written = std::filesystem::last_write_time(model);
  const ProcessResult again = run_process(job.sweep());
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(std::filesystem::last_write_time(model), written);
  EXPECT_THAT(again.err, HasSubstr("4 runs, 4 finished already"));
}

/// Sends `signal` once `runs_done` runs are finished and the next one has saved a step.
void disturb(const SweepJob& job, int signal, const std::string& run) {
  QtuneProcess sweep(job.sweep());
  const bool reached =
      sweep.wait_until([&] { return std::filesystem::exists(job / ("out/runs/" + run + "/checkpoint-2")); });
  ASSERT_TRUE(reached) << "ended before it could be disturbed: " << sweep.err_so_far();
  sweep.send(signal);
  const ProcessResult result = sweep.wait();
  EXPECT_EQ(result.exit_code, signal == SIGKILL ? 128 + SIGKILL : 130) << result.err;
}

TEST(RunSweep, KilledAndStoppedEndsWithTheTableOfAnUndisturbedOne) {
  const SweepJob quiet, disturbed;
  ASSERT_EQ(run_process(quiet.sweep()).exit_code, 0);
  disturb(disturbed, SIGKILL, "sample.method=random,token.method=random,seed=2");
  disturb(disturbed, SIGTERM, "sample.method=qtuning,token.method=random,seed=1");
  const ProcessResult last = run_process(disturbed.sweep());
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(disturbed.rows(), quiet.rows());
}

TEST(RunSweep, AFailedRunIsShownAndStopsNoOther) {
  const SweepJob job("list:\n- {dataset: missing.jsonl, name: bad}\n- {name: good}\n");
  const ProcessResult result = run_process(job.sweep());
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("bad: failed with exit code"));
  EXPECT_THAT(job.table(), HasSubstr("1 of 2 runs finished."));
  EXPECT_THAT(job.table(), testing::ContainsRegex("- bad: exit code [0-9]+: .*missing.jsonl"));
}

/// As when the disk is full: from run a's first checkpoint on the table can't be written.
std::unique_ptr<QtuneProcess> start_without_table(const SweepJob& job) {
  auto sweep = std::make_unique<QtuneProcess>(job.sweep());
  EXPECT_TRUE(sweep->wait_until([&] { return std::filesystem::exists(job / "out/runs/a/checkpoint-1"); }))
      << sweep->err_so_far();
  std::filesystem::remove(job / "out/table.md");
  std::filesystem::create_directory(job / "out/table.md");
  return sweep;
}

TEST(RunSweep, TablesThatCannotBeWrittenEndNoRunAndAreAnErrorAtTheEnd) {
  const SweepJob job("list: [{name: a}, {name: b}]\n");
  const ProcessResult result = start_without_table(job)->wait();
  expect_one_error(result, 1, (job / "out/table.md").string());
  EXPECT_EQ(result.error_lines("warning: the tables can't be written").size(), 2U) << result.err;
  for (const char* run : {"a", "b"}) {
    EXPECT_THAT(read_file(job / (std::string("out/runs/") + run + "/sweep_run.json")), HasSubstr("finished"));
  }
}

TEST(RunSweep, TablesThatCouldNotBeWrittenAreWrittenWithTheNextRun) {
  const SweepJob job("list: [{name: a}, {name: b}]\n");
  const std::unique_ptr<QtuneProcess> sweep = start_without_table(job);
  ASSERT_TRUE(sweep->wait_until([&] { return std::filesystem::exists(job / "out/runs/b/checkpoint-1"); }))
      << sweep->err_so_far();
  std::filesystem::remove(job / "out/table.md");
  const ProcessResult result = sweep->wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(job.table(), HasSubstr("2 of 2 runs finished."));
}

TEST(RunSweep, ARunWhoseConfigChangedIsRefusedByNameAndRedoneOnDemand) {
  const SweepJob job("list: [{name: a}, {name: b}]\n");
  ASSERT_EQ(run_process(job.sweep()).exit_code, 0);
  job.write_runs("list: [{name: a, learning_rate: 0.5}, {name: b, logging_steps: 7}]\n");
  const ProcessResult refused = run_process(job.sweep());
  expect_one_error(refused, 2, "run a: was started with another config (learning_rate: 0.001, now 0.5)");
  EXPECT_EQ(refused.err.find("run b"), std::string::npos) << "logging_steps changes no result";
  EXPECT_EQ(run_process(job.sweep({"--redo-changed"})).exit_code, 0);
  EXPECT_THAT(read_file(job / "out/runs/a/config.yaml"), HasSubstr("learning_rate: 0.5"));
}

/// Four choices; which one is right, the model can't know.
void write_arc(const std::filesystem::path& folder) {
  std::vector<nlohmann::json> lines;
  for (int i = 0; i < 4; ++i) {
    lines.push_back({{"question", "Which " + std::to_string(i) + "?"},
                     {"choices", {{"text", {"one", "a two", "three", "four"}}, {"label", {"A", "B", "C", "D"}}}},
                     {"answerKey", "C"}});
  }
  std::filesystem::create_directories(folder / "arc_easy");
  write_json_lines(folder / "arc_easy/test.jsonl", lines);
}

class EvaluatedSweep : public testing::TestWithParam<const char*> {};

TEST_P(EvaluatedSweep, HasTheTasksOfEachTrainedModelInItsTable) {
  const GenerationModel model;
  const SweepJob job(
      "list:\n- {name: first}\n- {name: second, learning_rate: 2.0e-3}\neval: {tasks: [arc_easy], data_dir: " +
          (model / "data").string() + ", limit: 3}\n",
      std::string("finetuning_type: ") + GetParam() + "\n", model.path());
  write_arc(model / "data");
  const ProcessResult result = run_process(job.sweep());
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto rows = nlohmann::json::parse(read_file(job / "out/results.json")).at("rows");
  ASSERT_EQ(rows.size(), 2U);
  for (const auto& row : rows) {
    const double accuracy = row.at("arc_easy acc");
    EXPECT_TRUE(accuracy == 0 || std::abs(accuracy - 1 / 3.0) < 1e-9 || std::abs(accuracy - 2 / 3.0) < 1e-9 ||
                accuracy == 1)
        << accuracy;
    EXPECT_TRUE(row.contains("arc_easy acc_norm"));
  }
  EXPECT_THAT(job.table(), HasSubstr("arc_easy acc"));
  EXPECT_THAT(run_process(job.sweep()).err, HasSubstr("2 runs, 2 finished already"));
}

INSTANTIATE_TEST_SUITE_P(RunSweep, EvaluatedSweep, testing::Values("full", "lora"),
                         [](const auto& p) { return std::string(p.param); });

TEST(RunSweep, ASecondOneInTheSameFolderIsRefused) {
  const SweepJob job;
  QtuneProcess first(job.sweep());
  ASSERT_TRUE(first.wait_until([&] { return std::filesystem::exists(job / "out/table.md"); }));
  expect_one_error(run_process(job.sweep()), 2, "in use by another sweep");
  EXPECT_EQ(first.wait().exit_code, 0);
}

TEST(RunSweep, SideBySideGivesTheSameTable) {
  const SweepJob one, two;
  ASSERT_EQ(run_process(one.sweep()).exit_code, 0);
  ASSERT_EQ(run_process(two.sweep({"--jobs", "2"})).exit_code, 0);
  EXPECT_EQ(two.rows(), one.rows());
}

TEST(RunSweep, DryRunShowsStepsAndWritesNothing) {
  const SweepJob job;
  const ProcessResult result = run_process(job.sweep({"--dry-run"}));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("sample.method=qtuning,token.method=random,seed=2: 16 steps, 2 epochs of 8;"));
  EXPECT_FALSE(std::filesystem::exists(job / "out"));
}

TEST(RunSweep, DryRunNamesRunsThatWouldFail) {
  const SweepJob job("list:\n- {dataset: missing.jsonl, name: bad}\n- {name: good}\n");
  const ProcessResult result = run_process(job.sweep({"--dry-run"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("1 of 2 runs would fail"));
  EXPECT_THAT(result.err, HasSubstr("run bad: "));
}

}  // namespace
}  // namespace qtune
