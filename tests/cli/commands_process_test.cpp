// The other commands as a user runs them: processes, with streams and exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "qtune/eval/generate.h"
#include "qtune/text/tokenizer.h"
#include "support/byte_tokenizer.h"
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

TEST(CommandLine, HelpAndVersionGoToStdout) {
  for (const char* flag : {"--help", "--version"}) {
    const ProcessResult result = run_process({flag});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.out, "");
    EXPECT_EQ(result.err, "");
  }
}

TEST(CommandLine, HelpOfEveryCommandGoesToStdout) {
  for (const char* command : {"train", "score", "select", "inspect", "generate", "convert", "tokenize", "config"}) {
    const ProcessResult result = run_process({command, "--help"});
    EXPECT_EQ(result.exit_code, 0) << command;
    EXPECT_NE(result.out.find("--help"), std::string::npos) << command;
    EXPECT_EQ(result.err, "");
  }
}

/// A fixture's model with a tokenizer that has a token for each byte.
class GenerateCommand : public testing::Test {
 protected:
  GenerateCommand() {
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors"}) {
      fs::copy_file(kData / "models/llama_tied" / name, model_ / name);
    }
    write_byte_tokenizer(model_.path());
  }

  std::string generate(std::vector<std::string> more, const std::string& input = "") {
    std::vector<std::string> arguments = {"generate", "--model", model_.path().string(), "--max-new-tokens", "24"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ProcessResult result = run_process(arguments, {.input = input});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }

  TempDir model_;
};

TEST_F(GenerateCommand, GreedyAndSeededSamplingRepeatThemselves) {
  const std::vector<std::string> raw = {"--raw", "--prompt", "Once upon"};
  const std::string greedy = generate(raw);
  EXPECT_GT(greedy.size(), 1U);
  EXPECT_EQ(generate(raw), greedy);
  const auto sampled = [&](const std::string& seed) {
    return generate({"--raw", "--prompt", "Once upon", "--temperature", "2", "--seed", seed});
  };
  const std::string one = sampled("1");
  EXPECT_EQ(sampled("1"), one);
  EXPECT_NE(sampled("2"), one);
  EXPECT_NE(one, greedy);
  EXPECT_EQ(generate({"--raw"}, "Once upon"), greedy) << "prompt from the standard input";
}

TEST_F(GenerateCommand, StopsAtEndOfSequenceAndDoesNotPrintIt) {
  const auto tokenizer = Tokenizer::load_tokenizer(model_.path());
  Model model = Model::load(model_.path(), {});
  const std::vector<int32_t> ids =
      qtune::generate(model, tokenizer->encode("Once upon"), {.max_new_tokens = 24}, [](int32_t) { return true; });
  ASSERT_GE(ids.size(), 8U);
  const int32_t stop = ids[7];
  const auto end = std::find(ids.begin(), ids.end(), stop);
  write_file_atomic(model_ / "generation_config.json", nlohmann::json{{"eos_token_id", {2, stop}}}.dump());
  EXPECT_EQ(generate({"--raw", "--prompt", "Once upon"}), tokenizer->decode({ids.begin(), end}) + "\n");
}

TEST_F(GenerateCommand, TemplateFramesThePrompt) {
  const std::string framed = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n";
  const std::string plain = generate({"--raw", "--prompt", framed});
  EXPECT_EQ(generate({"--template", "chatml", "--prompt", "hi"}), plain);
}

TEST_F(GenerateCommand, ErrorsAreOneLine) {
  const std::string folder = model_.path().string();
  expect_one_error(run_process({"generate", "--model", folder, "--raw"}), 2, "expected a prompt");
  expect_one_error(run_process({"generate", "--model", folder, "--prompt", "x", "--template", "none"}), 2, "none");
  for (const char* option : {"--system", "--template"}) {
    expect_one_error(run_process({"generate", "--model", folder, "--prompt", "x", "--raw", option, "chatml"}), 2,
                     option);
  }
  // A token a byte: 512 of them fill the fixture's positions.
  expect_one_error(run_process({"generate", "--model", folder, "--raw", "--prompt", std::string(512, 'x')}), 2,
                   "the model's 512 positions, found 512");
  const fs::path tokenizer = model_ / "tokenizer.json";
  fs::copy_file(kData / "tokenizers/smollm2/tokenizer.json", tokenizer, fs::copy_options::overwrite_existing);
  expect_one_error(run_process({"generate", "--model", folder, "--raw", "--prompt", "x"}), 4,
                   "expected a tokenizer of at most 331 tokens (the model's vocab_size), found 2000");
  fs::remove(tokenizer);
  expect_one_error(run_process({"generate", "--model", folder, "--prompt", "x"}), 4, "tokenizer");
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
