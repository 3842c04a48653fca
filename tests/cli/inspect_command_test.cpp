// qtune inspect --config, on a tiny model folder with a byte tokenizer.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

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
                                HasSubstr("samples                  2\n"), HasSubstr("trained tokens           12\n"),
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
    EXPECT_EQ(sample.at("id"), std::to_string(num_lines));
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

TEST_F(InspectCommand, WithoutAConfigItSaysWhatIsMissing) {
  const CommandOutput output = run_qtune({"inspect"});
  EXPECT_EQ(output.exit_code, kExitUsage);
  EXPECT_THAT(output.err, AllOf(HasSubstr("--config"), Not(HasSubstr("terminate"))));
}

}  // namespace
}  // namespace qtune
