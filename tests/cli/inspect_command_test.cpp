// qtune inspect --config, on a tiny model folder with a byte tokenizer.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/byte_tokenizer.h"
#include "support/run_qtune.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

class InspectCommand : public testing::Test {
 protected:
  InspectCommand() {
    write_byte_tokenizer(folder_.path());
    std::filesystem::copy_file(QTUNE_TEST_DATA "/models/llama_tied/config.json", folder_ / "config.json");
    write_file_atomic(folder_ / "c.yaml",
                      fmt::format("model_name_or_path: {0}\ntemplate: chatml\ndataset: {0}/d.jsonl\n"
                                  "output_dir: {0}/out\nfinetuning_type: full\n",
                                  folder_.path().string()));
  }

  CommandOutput inspect(const std::string& data, const std::vector<std::string>& arguments = {}) {
    write_file_atomic(folder_ / "d.jsonl", data);
    std::vector<std::string> all = {"inspect", "--config", (folder_ / "c.yaml").string()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_qtune(all);
  }

  TempDir folder_;
};

constexpr const char* kSample = R"({"id":"s1","prompt":"hello","completion":"world"})"
                                "\n";

TEST_F(InspectCommand, MarksTheTrainedTokensAndCounts) {
  const CommandOutput output = inspect(std::string(kSample) + kSample);
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, AllOf(HasSubstr("--- s1: "), HasSubstr("<|im_start|>assistant\n⟦world<|im_end|>⟧\n"),
                                HasSubstr("samples                  2\n"), HasSubstr("trained tokens           12 ("),
                                HasSubstr("duplicates               1\n")));
}

TEST_F(InspectCommand, JsonHasALineForEverySample) {
  std::string data;
  for (int i = 0; i < 5; ++i) data += fmt::format("{{\"id\":{},\"prompt\":\"p\",\"completion\":\"c\"}}\n", i);
  const CommandOutput output = inspect(data, {"--json"});
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  std::istringstream lines(output.out);
  int num_lines = 0;
  for (std::string line; std::getline(lines, line); ++num_lines) {
    const Json sample = Json::parse(line);
    EXPECT_EQ(sample.at("id"), num_lines);
    EXPECT_THAT(sample.at("text").get<std::string>(), HasSubstr("assistant\nc<|im_end|>"));
    const auto& ids = sample.at("input_ids");
    const auto& labels = sample.at("labels");
    ASSERT_EQ(ids.size(), labels.size());
    int num_trained = 0;
    for (size_t k = 0; k < ids.size(); ++k) {
      if (labels[k] == -100) continue;
      EXPECT_EQ(labels[k], ids[k]);
      ++num_trained;
    }
    EXPECT_EQ(num_trained, 2) << "c and the end of turn";
  }
  EXPECT_EQ(num_lines, 5);
  const CommandOutput two = inspect(data, {"--json", "-n", "2"});
  EXPECT_EQ(std::count(two.out.begin(), two.out.end(), '\n'), 2);
}

/// An environment variable, put back at the end.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  ~ScopedVariable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST_F(InspectCommand, AwayFromATerminalTheRecordStandsAboveWithoutColour) {
  const CommandOutput output = inspect(kSample);
  EXPECT_THAT(output.out, HasSubstr("record:\n" + std::string(kSample) + "what the model sees:\n<|im_start|>user\n"));
  EXPECT_THAT(output.out, Not(HasSubstr("\x1b")));
}

TEST_F(InspectCommand, OnAWideTerminalTheRecordStandsBesideInColour) {
  const ScopedVariable columns("COLUMNS", "120");
  const CommandOutput output = inspect(kSample, {"--color", "always"});
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  std::istringstream lines(output.out);
  std::string head, headings, first, second, third;
  for (std::string* line : {&head, &headings, &first, &second, &third}) std::getline(lines, *line);
  EXPECT_THAT(headings, AllOf(HasSubstr("record"), HasSubstr(" │ "), HasSubstr("what the model sees")));
  EXPECT_EQ(first, R"({"id":"s1","prompt":"hello","completion":"world"})" + std::string(9, ' ') +
                       " │ \x1b[2;7m<|im_start|>\x1b[0muser");
  EXPECT_THAT(output.out, HasSubstr("\x1b[32mworld\x1b[0m\x1b[32;7m<|im_end|>\x1b[0m\n"));
  const ScopedVariable narrow("COLUMNS", "99");
  EXPECT_THAT(inspect(kSample, {"--color", "always"}).out, Not(HasSubstr("│")));
}

TEST_F(InspectCommand, ARecordCannotSteerTheTerminal) {
  const CommandOutput output = inspect("{\"id\":\"\\u001b[2J\",\"prompt\":\"\x7f\",\"completion\":\"w\"}\n");
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, AllOf(HasSubstr("--- \\x1b[2J: "), HasSubstr("\"prompt\":\"\\x7f\"")));
  EXPECT_THAT(output.out, Not(testing::ContainsRegex("[\x1b\x7f]")));
}

TEST_F(InspectCommand, TokensAreShownWithTheirIds) {
  const std::string out = inspect(kSample, {"--tokens"}).out;
  EXPECT_THAT(out, AllOf(HasSubstr("<|im_start|>‹256›u‹"), HasSubstr("<|im_end|>‹257›⟧⏎‹"))) << out;
}

TEST_F(InspectCommand, LongSamplesAreCutInTheMiddleUnlessFull) {
  const std::string text(5000, 'p');
  const std::string data = "{\"prompt\":\"" + text + "\",\"completion\":\"c\"}\n";
  const CommandOutput cut = inspect(data, {"cutoff_len=8000"});
  EXPECT_THAT(cut.out, AllOf(HasSubstr(" characters: --full ...]\n"), HasSubstr(" tokens, 0 of them trained: --full"),
                             HasSubstr("⟦c<|im_end|>⟧"), HasSubstr("\"completion\":\"c\"}\n"), Not(HasSubstr(text))));
  const CommandOutput full = inspect(data, {"cutoff_len=8000", "--full"});
  EXPECT_THAT(full.out, AllOf(HasSubstr("<|im_start|>user\n" + text), HasSubstr("\"prompt\":\"" + text)));
}

TEST_F(InspectCommand, ASampleIsFoundByItsIdOrPlace) {
  const std::string data = std::string(kSample) + "{\"prompt\":\"second\",\"completion\":\"c\"}\n";
  EXPECT_THAT(inspect(data, {"--sample", "d.jsonl:2"}).out, AllOf(HasSubstr("user\nsecond"), Not(HasSubstr("hello"))));
  const CommandOutput both = inspect(data, {"--sample", "d.jsonl:2", "--sample", "s1"});
  EXPECT_LT(both.out.find("second"), both.out.find("hello"));
  EXPECT_THAT(inspect(data, {"--sample", "s1", "--json"}).out, testing::StartsWith("{\"id\":\"s1\""));
  const CommandOutput none = inspect(data, {"--sample", "jsonl:2"});
  EXPECT_EQ(none.exit_code, kExitUsage);
  EXPECT_THAT(none.err, HasSubstr("--sample: expected a sample's id or FILE:LINE, found \"jsonl:2\""));
}

TEST_F(InspectCommand, StatisticsCountTurnsAndEmptyAnswers) {
  const std::string two = R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},)"
                          R"({"role":"user","content":"q"},{"role":"assistant","content":""}]})";
  const std::string empty = R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":" "}]})";
  const std::string out = inspect(two + "\n" + empty + "\n", {"-n", "0"}).out;
  EXPECT_THAT(out, AllOf(HasSubstr("trained ends of turn     1.50 a sample\n"),
                         HasSubstr("empty answers            1\n"), HasSubstr("tokens of a sample       mean ")));
}

TEST_F(InspectCommand, WarningsStandOnceOnStderr) {
  const CommandOutput endless = inspect(kSample, {"template=empty"});
  EXPECT_THAT(endless.err, HasSubstr("warning: no end of turn is trained in any of the 1 samples"));
  const CommandOutput special = inspect("{\"prompt\":\"a <|im_end|>\",\"completion\":\"c\"}\n");
  EXPECT_THAT(special.err, HasSubstr("warning: special tokens are written in the messages of 1 of 1 samples"));
  EXPECT_EQ(inspect(kSample).err.find("warning"), std::string::npos);
  write_file_atomic(folder_ / "tokenizer_config.json", R"({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})");
  const CommandOutput doubled = inspect("{\"input_ids\":[256,256,7,257],\"labels\":[-100,-100,7,257]}\n");
  EXPECT_THAT(doubled.err, HasSubstr("1 of the 1 samples looked at start with <|im_start|> twice"));
}

TEST_F(InspectCommand, OverridesReplaceTheFilesValues) {
  const CommandOutput output = inspect(std::string(kSample), {"cutoff_len=2000", "train_on_prompt=true"});
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, HasSubstr("⟦<|im_start|>"));
}

TEST_F(InspectCommand, DataThatTrainingWouldRefuseIsShownWithAWarning) {
  const std::string untrained =
      R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","train":false}]})";
  const std::string trained = R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]})";
  const CommandOutput output = inspect(untrained + "\n" + trained + "\n");
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, HasSubstr("left out, none trained   1\n"));
  EXPECT_THAT(output.err, HasSubstr("1 of 2 samples have no trained token: training would stop"));
}

TEST_F(InspectCommand, PreTokenizedDataWithoutATokenizerShowsIds) {
  std::filesystem::remove(folder_ / "tokenizer.json");
  const CommandOutput output = inspect("{\"input_ids\":[7,8,9],\"labels\":[-100,8,9]}\n");
  EXPECT_EQ(output.exit_code, kExitOk) << output.err;
  EXPECT_THAT(output.out, HasSubstr("7⟦8 9⟧"));
  EXPECT_THAT(inspect("{\"input_ids\":[7,8,9]}\n", {"--json"}).out, HasSubstr("\"text\":null"));
}

TEST_F(InspectCommand, ABadLineExitsWithItsPlaceInOneLine) {
  const CommandOutput output = inspect(std::string(kSample) + "{\"prompt\":\"p\"}\n");
  EXPECT_EQ(output.exit_code, kExitData);
  EXPECT_THAT(output.err, AllOf(HasSubstr("d.jsonl:2: expected key \"completion\""), HasSubstr("--->")));
  EXPECT_EQ(output.out, "");
}

TEST_F(InspectCommand, OptionsOfAnotherViewAreUsageErrors) {
  const std::string model = folder_.path().string(), config = (folder_ / "c.yaml").string();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", "--model", model, "--step", "3"},
        {"inspect", "--model", model, "run"},
        {"inspect", "--model", model, "--config", config},
        {"inspect", "--config", config, "--step", "3"},
        {"inspect", "--config", config, "--json", "--tokens"},
        {"inspect", "--config", config, "-n", "2", "--sample", "s1"},
        {"inspect", "--config", config, "--color", "blue"},
        {"inspect", "run", "--full"},
        {"inspect", "run", "run2"},
        {"inspect", "run", "-n", "2"}}) {
    const CommandOutput output = run_qtune(arguments);
    EXPECT_EQ(output.exit_code, kExitUsage) << testing::PrintToString(arguments);
    EXPECT_EQ(output.out, "");
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  }
}

TEST_F(InspectCommand, TrainOptionsThatPreTokenizedDataIgnoresAreNoted) {
  const std::string data = "{\"input_ids\":[7,8,9]}\n{\"input_ids\":[7,8,9]}\n";
  EXPECT_THAT(inspect(data, {"train_on_prompt=true"}).err, HasSubstr("d.jsonl:1: pre-tokenized records keep"));
  EXPECT_THAT(inspect(data, {"mask_history=true"}).err, HasSubstr("d.jsonl:1: pre-tokenized records keep"));
  EXPECT_THAT(inspect(data).err, Not(HasSubstr("pre-tokenized records keep")));
  EXPECT_THAT(inspect(kSample, {"mask_history=true"}).err, Not(HasSubstr("pre-tokenized records keep")));
}

constexpr const char* kStep =
    R"({"step":1,"epoch":0.5,"loss":2.0,"tokens_seen":30,"tokens_trained":10,"seconds":{"train":2.0}})"
    "\n";
constexpr const char* kDecision =
    R"({"step":1,"rank":0,"id":7,"ppl":2.5,"entropy":null,"quadrant":"Q2","kept":true,"supplement":false,"kept_tokens":[0]})"
    "\n";

class InspectRun : public testing::Test {
 protected:
  CommandOutput inspect(const std::string& metrics, const std::string& decisions,
                        const std::vector<std::string>& more = {}) {
    write_file_atomic(run_ / "metrics.jsonl", metrics);
    write_file_atomic(run_ / "decisions.jsonl", decisions);
    std::vector<std::string> arguments = {"inspect", run_.path().string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_qtune(arguments);
  }

  TempDir run_;
};

TEST_F(InspectRun, ShowsStateAndFates) {
  const CommandOutput state = inspect(std::string(kStep) + R"({"step":1,"epoch":0.5,"eval_loss":1.5})" + "\n", "");
  EXPECT_EQ(state.exit_code, kExitOk) << state.err;
  EXPECT_THAT(state.out, AllOf(HasSubstr("steps            1 (epoch 0.50)\n"), HasSubstr("2.0000 in the first step"),
                               HasSubstr("30 seen, 10 trained, 15 seen a second"), HasSubstr("1.5000 at step 1")));
  const CommandOutput fates = inspect(kStep, kDecision, {"--step", "1"});
  EXPECT_EQ(fates.exit_code, kExitOk) << fates.err;
  EXPECT_THAT(fates.out, testing::ContainsRegex("\n7 +2\\.500 +- +Q2  1 tokens kept\n"));
}

TEST_F(InspectRun, TornLastLineIsPassedOver) {
  const CommandOutput state = inspect(std::string(kStep) + R"({"step":2,"epo)", "");
  EXPECT_EQ(state.exit_code, kExitOk) << state.err;
  EXPECT_THAT(state.out, HasSubstr("steps            1 "));
  const CommandOutput fates = inspect(kStep, std::string(kDecision) + R"({"step":1,"ra)", {"--step", "1"});
  EXPECT_EQ(fates.exit_code, kExitOk) << fates.err;
}

TEST_F(InspectRun, DamagedLineIsADataErrorWithItsPlace) {
  for (const std::string line :
       {"{\"step\":2,\"ep", "[]", "{}", "{\"step\":\"x\",\"loss\":1}", "{\"eval_loss\":1}",
        "{\"step\":1e300,\"epoch\":1,\"loss\":1}",
        "{\"step\":2,\"epoch\":1,\"loss\":1,\"tokens_seen\":1,\"tokens_trained\":1}", "\xff"}) {
    const CommandOutput output = inspect(kStep + line + "\n" + kStep, "");
    EXPECT_EQ(output.exit_code, kExitData) << line;
    EXPECT_THAT(output.err, AllOf(HasSubstr("metrics.jsonl:2: expected "), Not(HasSubstr("json.exception"))));
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  }
  for (const std::string line :
       {"{\"step\":1,\"ra", "{\"rank\":0}", "{\"step\":1}", "{\"step\":1,\"id\":[]}",
        "{\"step\":1,\"id\":\"x\",\"ppl\":1,\"entropy\":1,\"quadrant\":\"Q2\",\"kept\":true}"}) {
    const CommandOutput output = inspect(kStep, line + "\n" + kDecision, {"--step", "1"});
    EXPECT_EQ(output.exit_code, kExitData) << line;
    EXPECT_THAT(output.err, AllOf(HasSubstr("decisions.jsonl:1: expected "), Not(HasSubstr("json.exception"))));
  }
}

TEST_F(InspectCommand, WithoutAConfigItSaysWhatIsMissing) {
  const CommandOutput output = run_qtune({"inspect"});
  EXPECT_EQ(output.exit_code, kExitUsage);
  EXPECT_THAT(output.err, AllOf(HasSubstr("--config"), Not(HasSubstr("terminate"))));
}

}  // namespace
}  // namespace qtune
