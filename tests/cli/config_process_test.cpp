// `qtune config` and the checks in front of `qtune train`, as processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "qtune/base/file.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::HasSubstr;

constexpr const char* kValid =
    "model_name_or_path: no/such/model\n"
    "finetuning_type: full\n"
    "dataset: a.jsonl\n"
    "output_dir: out\n"
    "plot_loss: true\n";

class ConfigCommand : public testing::Test {
 protected:
  ProcessResult run(const std::string& command, const std::string& yaml,
                    const std::vector<std::string>& overrides = {}) {
    write_file_atomic(folder_ / "c.yaml", yaml);
    std::vector<std::string> arguments = {command, "--config", (folder_ / "c.yaml").string()};
    arguments.insert(arguments.end(), overrides.begin(), overrides.end());
    return run_process(arguments);
  }

  const TempDir folder_;
};

TEST_F(ConfigCommand, PrintsEveryValueWithItsOriginAndNotesBesides) {
  const ProcessResult result = run("config", kValid, {"pruning.sample={method: qtuning, keep: 0.25}"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("dataset: [a.jsonl]  # " + (folder_ / "c.yaml").string() + ":3\n"));
  EXPECT_THAT(result.out, HasSubstr("    keep: 0.25  # command line\n"));
  EXPECT_THAT(result.out, HasSubstr("learning_rate: 5e-05  # default\n"));
  EXPECT_THAT(result.err, HasSubstr("c.yaml:5: plot_loss: accepted, no effect"));
}

TEST_F(ConfigCommand, AllFaultsGoToStderrAndNothingToStdout) {
  const ProcessResult result = run("config", std::string(kValid) + "lerning_rate: 1\nseed: x\n", {"bf16=7"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("c.yaml:6: lerning_rate: unknown key; did you mean learning_rate?\n"));
  EXPECT_THAT(result.err, HasSubstr("c.yaml:7: seed: expected whole number, at least 0, found 'x'\n"));
  EXPECT_THAT(result.err, HasSubstr("command line: bf16: expected true or false, found '7'\n"));
}

TEST_F(ConfigCommand, WithoutAFileListsEveryKey) {
  const ProcessResult result = run_process({"config"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("pruning.sample.keep: 0.125  # number, above 0, at most 1\n"));
  EXPECT_THAT(result.out, HasSubstr("score_every: 1  # whole number, at least 1; this version: only 1\n"));
}

TEST_F(ConfigCommand, ATrainingWithFaultsLoadsAndWritesNothing) {
  const std::string out = (folder_ / "out").string();
  const ProcessResult result =
      run("train", std::string(kValid) + "warmup_steps: 9\nmax_steps: 5\n", {"output_dir=" + out});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("c.yaml:6: warmup_steps: expected at most max_steps (5), found 9"));
  EXPECT_THAT(result.err, testing::Not(HasSubstr("no/such/model")));
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace qtune
