#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "support/generation_model.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using nlohmann::json;
using testing::HasSubstr;

/// Whatever is asked, the answer is "ok".
std::vector<json> questions(int count, char first) {
  std::vector<json> lines;
  for (int i = 0; i < count; ++i) {
    const std::string question(1, static_cast<char>(first + i));
    lines.push_back(
        {{"messages", {{{"role", "user"}, {"content", question}}, {{"role", "assistant"}, {"content", "ok"}}}}});
  }
  return lines;
}

Arguments answering_run(const TrainingJob& job, const GenerationModel& model) {
  job.write_data(questions(16, 'a'));
  write_json_lines(job / "held_out.jsonl", questions(3, 'A'));
  return {"model_name_or_path=" + model.string(),
          "template=chatml",
          "eval_dataset=" + (job / "held_out.jsonl").string(),
          "eval_strategy=steps",
          "eval_steps=20",
          "max_steps=40",
          "learning_rate=0.01",
          "num_generation_samples=2"};
}

TEST(SampleGenerations, AreWhatTheModelHasLearntByThen) {
  const GenerationModel model;
  const TrainingJob job;
  job.run("run", answering_run(job, model));
  std::vector<json> answers;
  for (const json& line : job.metrics("run")) {
    if (line.contains("eval_loss")) answers.push_back(line.at("generations"));
  }
  ASSERT_EQ(answers.size(), 2U);
  ASSERT_EQ(answers[1].size(), 2U) << "two of the three held-out samples";
  for (const json& answer : answers[1]) {
    EXPECT_EQ(answer.at("text"), "ok<|im_end|>");
    EXPECT_EQ(answer.at("expected"), "ok<|im_end|>");
    EXPECT_EQ(answer.at("finish_reason"), "stop");
  }
  EXPECT_THAT(answers[1][1].at("prompt").get<std::string>(), HasSubstr("<|im_start|>user\nB<|im_end|>"));
}

TEST(SampleGenerations, AreNotThereUnlessAskedFor) {
  const GenerationModel model;
  const TrainingJob job;
  job.run("run", answering_run(job, model) + Arguments{"num_generation_samples=0", "max_steps=20"});
  EXPECT_FALSE(job.metrics("run").back().contains("generations"));
}

TEST(SampleGenerations, OfABrokenModelAreMissedByNobody) {
  const GenerationModel model;
  const TrainingJob job;
  const ProcessResult result =
      QtuneProcess(job.train("run", answering_run(job, model) + Arguments{"learning_rate=1e15", "on_nonfinite=skip",
                                                                          "eval_steps=1", "max_steps=1"}))
          .wait();
  EXPECT_THAT(result.err, HasSubstr("num_generation_samples: no answers"));
  EXPECT_THAT(result.err, HasSubstr("the held-out loss is not finite"));
  EXPECT_THAT(result.err, testing::Not(HasSubstr("error: generate")));
}

TEST(SampleGenerations, NeedATokenizer) {
  const TrainingJob job;
  job.write_data(random_samples(16, 3));
  const ProcessResult result =
      QtuneProcess(job.train("run", {"val_size=4", "eval_strategy=epoch", "max_steps=2", "num_generation_samples=1"}))
          .wait();
  EXPECT_EQ(result.exit_code, kExitCheckpoint);
  EXPECT_THAT(result.err, HasSubstr("tokenizer"));
}

}  // namespace
}  // namespace qtune
