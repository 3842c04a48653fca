// qtune eval as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/eval/out_folder.h"
#include "support/generation_model.h"
#include "support/process.h"
#include "support/training_job.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::HasSubstr;

class EvalCommand : public testing::Test {
 protected:
  EvalCommand() {
    fs::create_directories(model_ / "data/arc_easy");
    fs::create_directories(model_ / "data/gsm8k");
    std::vector<Json> arc, gsm8k;
    for (int i = 0; i < 6; ++i) {
      arc.push_back({{"question", "Which " + std::to_string(i)},
                     {"choices", {{"text", {"red", "blue sky", "x", "four"}}, {"label", {"A", "B", "C", "D"}}}},
                     {"answerKey", "B"}});
      gsm8k.push_back({{"question", "What is " + std::to_string(i)}, {"answer", "It is.\n#### " + std::to_string(i)}});
    }
    write_json_lines(model_ / "data/arc_easy/test.jsonl", arc);
    write_json_lines(model_ / "data/arc_easy/validation.jsonl", arc);
    write_json_lines(model_ / "data/gsm8k/test.jsonl", gsm8k);
    write_json_lines(model_ / "data/gsm8k/train.jsonl", gsm8k);
  }

  ProcessResult eval(const std::string& tasks, const Arguments& more = {}) {
    return run_process(Arguments{"eval", "--model", model_.string(), "--tasks", tasks, "--data-dir",
                                 (model_ / "data").string(), "--out", (model_ / "out").string()} +
                       more);
  }
  std::string refusal(int exit_code, const std::string& tasks, const Arguments& more = {}) {
    const ProcessResult result = eval(tasks, more);
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    return result.err;
  }
  fs::path out(const std::string& name) const { return model_ / ("out/" + name); }
  std::map<int, Json> items(const std::string& task) const {
    std::map<int, Json> by_number;
    for (const Json& line : read_json_lines(out(task + ".jsonl"))) by_number[line.at("doc_id")] = line;
    return by_number;
  }
  Json results() const { return Json::parse(read_file(out("results.json"))); }

  GenerationModel model_;
};

const Arguments kShort = {"--num-fewshot", "1", "--max-new-tokens", "4"};

TEST_F(EvalCommand, WritesResultsATableAndALineAnItem) {
  const ProcessResult result = eval("arc_easy,gsm8k", kShort);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("acc_norm"));
  EXPECT_THAT(result.out, HasSubstr("exact_match,flexible-extract"));
  ASSERT_EQ(items("arc_easy").size(), 6U);
  const Json arc = items("arc_easy").at(2);
  EXPECT_EQ(arc.at("logprobs").size(), 4U);
  EXPECT_EQ(arc.at("num_tokens"), Json({4, 9, 2, 5})) << "a token a byte, with the space before";
  EXPECT_THAT(arc.at("place").get<std::string>(), HasSubstr("test.jsonl:3"));
  EXPECT_EQ(items("gsm8k").at(0).at("gold"), Json({"It is.\n#### 0"}));
  ASSERT_EQ(results().size(), 4U);
  EXPECT_EQ(results()[0]["n"], 6);
  EXPECT_EQ(results()[0]["style"], "lm-eval");
}

TEST_F(EvalCommand, MeanAndStandardErrorAreThoseOfTheItems) {
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  double sum = 0;
  for (const auto& [number, item] : items("arc_easy")) sum += item["metrics"]["acc"].get<double>();
  const double mean = sum / 6;
  EXPECT_DOUBLE_EQ(results()[0]["value"], mean);
  EXPECT_NEAR(results()[0]["stderr"], std::sqrt(mean * (1 - mean) / 5), 1e-12);
}

TEST_F(EvalCommand, GoesOnBehindATornLineAndGivesTheSame) {
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  const auto whole = items("arc_easy");
  const Json expected = results();
  const std::string text = read_file(out("arc_easy.jsonl"));
  size_t third_line = 0;
  for (int i = 0; i < 3; ++i) third_line = text.find('\n', third_line) + 1;
  std::string kept = text.substr(0, third_line);
  kept.replace(kept.find("\"logprobs\""), 10, "\"kept_line\"");
  write_file_atomic(out("arc_easy.jsonl"), kept + text.substr(third_line, 20));
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  EXPECT_EQ(items("arc_easy").size(), 6U);
  EXPECT_EQ(count_lines(out("arc_easy.jsonl")), 6);
  EXPECT_THAT(read_file(out("arc_easy.jsonl")), HasSubstr("kept_line")) << "answers that are there are not given anew";
  EXPECT_EQ(results(), expected);
}

TEST_F(EvalCommand, BrokenLineInTheMiddleIsNamed) {
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  write_file_atomic(out("arc_easy.jsonl"), "{\"doc_id\":0\n" + read_file(out("arc_easy.jsonl")));
  EXPECT_THAT(refusal(3, "arc_easy"), HasSubstr("arc_easy.jsonl:1: expected an item"));
}

TEST_F(EvalCommand, HigherLimitGoesOnAndALowerOneCountsFewer) {
  ASSERT_EQ(eval("arc_easy", {"--limit", "2"}).exit_code, 0);
  EXPECT_EQ(results()[0]["n"], 2);
  ASSERT_EQ(eval("arc_easy", {"--limit", "5"}).exit_code, 0);
  EXPECT_EQ(results()[0]["n"], 5);
  ASSERT_EQ(eval("arc_easy", {"--limit", "3"}).exit_code, 0);
  EXPECT_EQ(results()[0]["n"], 3);
}

TEST_F(EvalCommand, OtherSettingsDoNotContinue) {
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  EXPECT_THAT(refusal(2, "arc_easy", {"--dtype", "bfloat16"}), HasSubstr("dtype \"float32\" instead of \"bfloat16\""));
  EXPECT_THAT(refusal(2, "arc_easy", {"--num-fewshot", "1"}), HasSubstr("arc_easy.settings.json"));
  EXPECT_THAT(refusal(2, "arc_easy", {"--style", "opencompass"}), HasSubstr("style"));
}

TEST_F(EvalCommand, BatchSizeChangesNoAnswer) {
  ASSERT_EQ(eval("gsm8k", kShort).exit_code, 0);
  const auto first = items("gsm8k");
  fs::remove_all(out(""));
  ASSERT_EQ(eval("gsm8k", kShort + Arguments{"--batch-size", "1"}).exit_code, 0);
  EXPECT_EQ(items("gsm8k"), first);
}

TEST_F(EvalCommand, StopTextIsNotPartOfTheAnswer) {
  ASSERT_EQ(eval("gsm8k", {"--num-fewshot", "0", "--max-new-tokens", "12"}).exit_code, 0);
  for (const auto& [number, item] : items("gsm8k")) {
    EXPECT_LE(item["tokens"].size(), 12U);
    EXPECT_THAT(item["raw"].get<std::string>(), testing::Not(HasSubstr("Question:")));
  }
}

TEST_F(EvalCommand, OpenCompassRanksWholeTexts) {
  ASSERT_EQ(eval("arc_easy", {"--style", "opencompass"}).exit_code, 0);
  const Json item = items("arc_easy").at(0);
  EXPECT_EQ(item.at("mean_nll").size(), 4U);
  EXPECT_EQ(results()[0]["style"], "opencompass");
  EXPECT_EQ(results()[0]["metric"], "accuracy");
}

TEST_F(EvalCommand, LossIsThatOfTheScorePass) {
  const TempDir folder;  // scores don't go into a model's
  write_json_lines(model_ / "held_out.jsonl", random_samples(7, 3));
  const Arguments data = {"--data", (model_ / "held_out.jsonl").string()};
  ASSERT_EQ(eval("loss", data + Arguments{"--batch-size", "3"}).exit_code, 0);
  ASSERT_EQ(run_process(Arguments{"score", "--model", model_.string(), "--out", (folder / "s.jsonl").string()} + data)
                .exit_code,
            0);
  double sum = 0, count = 0;
  for (const Json& line : read_json_lines(folder / "s.jsonl")) {
    for (const double nll : line["nll"]) sum += nll;
    count += static_cast<double>(line["nll"].size());
  }
  EXPECT_NEAR(results()[0]["value"], sum / count, 1e-5);
  EXPECT_NEAR(results()[1]["value"], std::exp(sum / count), 1e-2);
  EXPECT_EQ(items("loss").size(), 7U);
}

TEST_F(EvalCommand, WrongUseIsSaidBeforeTheModelIsLoaded) {
  EXPECT_THAT(refusal(2, "arc_esay"), HasSubstr("did you mean arc_easy?"));
  EXPECT_THAT(refusal(2, "arc_easy,arc_easy"), HasSubstr("twice"));
  EXPECT_THAT(refusal(2, "loss"), HasSubstr("expected --data"));
  EXPECT_THAT(refusal(2, "squad", {"--style", "opencompass"}), HasSubstr("--style lm-eval"));
  EXPECT_THAT(refusal(2, "arc_easy", {"--prompt", "gsm8k=x"}), HasSubstr("TASK=TEMPLATE"));
  EXPECT_THAT(refusal(3, "squad"), HasSubstr("expected a file validation.jsonl"));
}

TEST_F(EvalCommand, RowWithoutItsColumnIsNamed) {
  write_json_lines(model_ / "data/gsm8k/test.jsonl", {{{"question", "a"}, {"answer", "b"}}, {{"question", "a"}}});
  EXPECT_THAT(refusal(3, "gsm8k"), HasSubstr("test.jsonl:2: expected a column answer"));
}

TEST_F(EvalCommand, CutPromptsAreSaidOnceAndInTheirLines) {
  model_.set_positions(24);
  const ProcessResult result = eval("gsm8k", kShort);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("gsm8k: 6 of 6 prompts are too long for the model's 24 positions"));
  EXPECT_EQ(items("gsm8k").at(0).at("cut"), true);
  EXPECT_GT(items("gsm8k").at(0).at("uncut_tokens"), 20);
}

TEST_F(EvalCommand, ChoiceLongerThanThePositionsIsNamed) {
  model_.set_positions(8);
  EXPECT_THAT(refusal(3, "arc_easy"), HasSubstr("test.jsonl:1: arc_easy: expected choices of at most"));
}

TEST_F(EvalCommand, WithoutATrainFileAQuestionIsNotItsOwnShot) {
  ASSERT_EQ(eval("arc_easy", {"--num-fewshot", "4"}).exit_code, 0);  // shots from validation: as the harness draws them
  fs::remove_all(out(""));
  fs::remove(model_ / "data/arc_easy/validation.jsonl");
  ASSERT_EQ(eval("arc_easy", {"--num-fewshot", "5"}).exit_code, 0);
  for (const auto& [number, item] : items("arc_easy")) {
    const std::string prompt = item["prompt"], question = "Which " + std::to_string(number) + "\n";
    EXPECT_EQ(prompt.find(question), prompt.rfind(question)) << prompt;
  }
}

TEST_F(EvalCommand, FoldersThatAreNoneAreNamed) {
  const auto with_model = [&](const std::string& model, const Arguments& more) {
    return run_process(Arguments{"eval", "--model", model, "--tasks", "arc_easy", "--data-dir",
                                 (model_ / "data").string(), "--out", out("").string()} +
                       more);
  };
  for (const auto& result : {with_model("nonexist", {}), with_model((model_ / "config.json").string(), {}),
                             with_model(model_.string(), {"--adapter", "nonexist"})}) {
    EXPECT_EQ(result.exit_code, 4) << result.err;
    EXPECT_THAT(result.err, HasSubstr("expected a folder, found"));
  }
}

TEST_F(EvalCommand, OutThatIsAFileIsRefused) {
  write_file_atomic(model_ / "out", "x");
  EXPECT_THAT(refusal(2, "arc_easy"), HasSubstr("--out: " + (model_ / "out").string()));
}

TEST_F(EvalCommand, EmptyPromptIsRefused) {
  EXPECT_THAT(refusal(3, "arc_easy", {"--prompt", "arc_easy="}),
              HasSubstr("test.jsonl:1: arc_easy: expected a prompt"));
}

TEST_F(EvalCommand, MetricThatIsNoNumberIsRefusedAndAnEmptyOneAskedAgain) {
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  std::vector<Json> lines = read_json_lines(out("arc_easy.jsonl"));
  lines[1]["metrics"] = Json::object();
  write_json_lines(out("arc_easy.jsonl"), lines);
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  EXPECT_EQ(results()[0]["n"], 6);
  lines[1]["metrics"] = {{"acc", nullptr}};
  write_json_lines(out("arc_easy.jsonl"), lines);
  EXPECT_THAT(refusal(3, "arc_easy"), HasSubstr("arc_easy.jsonl:2: expected an item"));
}

TEST_F(EvalCommand, TemplateWithoutApplyChatTemplateIsRefused) {
  EXPECT_THAT(refusal(2, "arc_easy", {"--template", "chatml"}), HasSubstr("expected --apply-chat-template"));
}

TEST_F(EvalCommand, TheSameFoldersWrittenOtherwiseGoOn) {
  ASSERT_EQ(eval("arc_easy").exit_code, 0);
  const ProcessResult again =
      run_process({"eval", "--model", model_.string() + "/", "--tasks", "arc_easy", "--data-dir",
                   (model_ / "data/../data/").string(), "--out", out("").string()});
  EXPECT_EQ(again.exit_code, 0) << again.err;
}

TEST_F(EvalCommand, FolderInUseIsRefused) {
  fs::create_directories(out(""));
  const EvalOutFolder held(model_ / "out");
  EXPECT_THAT(refusal(2, "arc_easy"), HasSubstr("found another one at work in it"));
}

}  // namespace
}  // namespace qtune
