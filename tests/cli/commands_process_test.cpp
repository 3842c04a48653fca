// The other commands as a user runs them: processes, with streams and exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/process.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kData = QTUNE_TEST_DATA;

TEST(CommandLine, UnknownOrMissingCommandIsWrongUse) {
  expect_one_error(run_process({"trian"}), 2, "found \"trian\" ---> did you mean train?");
  expect_one_error(run_process({}), 2, "expected a command (train, ");
  expect_one_error(run_process({"train"}), 2, "--config");
  expect_one_error(run_process({"train", "--config", "none.yaml"}), 2, "none.yaml");
  expect_one_error(run_process({"config", "--confg", "x"}), 2, "--confg");
}

TEST(CommandLine, AWrongOptionPointsToTheHelpOfItsCommand) {
  expect_one_error(run_process({"inspect", "run", "--step", "0"}), 2,
                   "--step: expected a number at least 1, found 0 ---> see qtune inspect --help");
  expect_one_error(run_process({"bench", "step", "--steps", "0"}), 2, " ---> see qtune bench step --help");
  expect_one_error(run_process({"--verson"}), 2, " ---> see qtune --help");
  const std::string range = "--seed: expected a number at least 0, found -1";
  expect_one_error(run_process({"select", "s.jsonl", "--seed", "-1"}), 2, range);
}

TEST(CommandLine, HelpAndVersionGoToStdout) {
  for (const char* flag : {"--help", "--version"}) {
    const ProcessResult result = run_process({flag});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out, "");
    EXPECT_EQ(result.err, "");
  }
}

TEST(CommandLine, HelpOfEveryCommandGoesToStdout) {
  for (const char* command :
       {"train", "score", "select", "inspect", "generate", "chat", "convert", "tokenize", "config"}) {
    const ProcessResult result = run_process({command, "--help"});
    EXPECT_EQ(result.exit_code, 0) << command;
    EXPECT_NE(result.out.find("--help"), std::string::npos) << command;
    EXPECT_EQ(result.err, "");
  }
}

TEST(TokenizeCommandProcess, RoundTripsLines) {
  const std::string model = (kData / "tokenizers/smollm2").string(), text = "\"Hello\\n world 123\"\n\"\"\n";
  const ProcessResult ids = run_process({"tokenize", "--model", model, "--json"}, {.input = text});
  EXPECT_EQ(ids.exit_code, 0) << ids.err;
  const ProcessResult back = run_process({"tokenize", "--model", model, "--json", "--decode"}, {.input = ids.out});
  EXPECT_EQ(back.out, text) << back.err;
  expect_one_error(run_process({"tokenize", "--model", model, "--json"}, {.input = "\"ok\"\nno json\n"}), 3,
                   "stdin:2: ");
}

TEST(ConvertCommandProcess, ConvertedFolderGivesTheSameScores) {
  const TempDir folder;
  const std::string model = (kData / "models/llama_untied").string(), data = (folder / "d.jsonl").string();
  write_file_atomic(data, "{\"input_ids\": [3, 4, 5, 6, 7]}\n");
  const std::string out = (folder / "out").string();
  const ProcessResult converted = run_process({"convert", model, out, "--dtype", "f32", "--shard-size", "200KB"});
  EXPECT_EQ(converted.exit_code, 0) << converted.err;
  EXPECT_TRUE(fs::exists(folder / "out/model.safetensors.index.json"));
  const auto scores_of = [&](const std::string& scored) {
    const std::string file = (folder / "s.jsonl").string();
    EXPECT_EQ(run_process({"score", "--model", scored, "--data", data, "--out", file}).exit_code, 0);
    return read_file(file);
  };
  EXPECT_EQ(scores_of(out), scores_of(model));
  expect_one_error(run_process({"convert", model, out}), 2, "expected a new or empty folder");
}

TEST(ConvertCommandProcess, FullDiskLeavesNoFolder) {
  const TempDir folder;
  const ProcessResult result = run_process(
      {"convert", (kData / "models/llama_untied").string(), (folder / "out").string()}, {.file_limit_bytes = 100'000});
  expect_one_error(result, 4, "model.safetensors: cannot write: File too large");
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(InspectCommandProcess, WritesSamplesToStdout) {
  const TempDir folder;
  write_file_atomic(folder / "d.jsonl", "{\"id\": \"a\", \"input_ids\": [3, 4, 5], \"labels\": [-100, 4, 5]}\n");
  write_file_atomic(folder / "c.yaml",
                    "model_name_or_path: " + (kData / "models/llama_tied").string() +
                        "\nfinetuning_type: full\noutput_dir: out\ndataset: " + (folder / "d.jsonl").string() + "\n");
  const ProcessResult result = run_process({"inspect", "--config", (folder / "c.yaml").string(), "--json"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(nlohmann::json::parse(result.out).at("labels"), nlohmann::json({-100, 4, 5}));
  EXPECT_FALSE(fs::exists("out"));
}

}  // namespace
}  // namespace qtune
