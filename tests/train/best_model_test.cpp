// Runs whose held-out loss falls and rises again: small data learnt by heart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using testing::HasSubstr;

/// Few samples, a high rate, and held-out samples of another draw of the same kind.
class BestModel : public testing::Test {
 protected:
  BestModel() {
    job_.write_data(random_samples(8, 3));
    write_json_lines(job_ / "held_out.jsonl", random_samples(12, 4));
  }

  Arguments with(const Arguments& more) const {
    return Arguments{"eval_dataset=" + (job_ / "held_out.jsonl").string(),
                     "eval_strategy=steps",
                     "eval_steps=2",
                     "save_strategy=steps",
                     "save_steps=2",
                     "max_steps=40",
                     "learning_rate=0.01",
                     "lr_scheduler_type=constant"} +
           more;
  }

  /// Step and loss of each evaluation.
  std::vector<std::pair<int64_t, double>> evaluations(const std::string& run) const {
    std::vector<std::pair<int64_t, double>> found;
    for (const nlohmann::json& line : job_.metrics(run)) {
      if (line.contains("eval_loss")) found.emplace_back(line.at("step"), line.at("eval_loss"));
    }
    return found;
  }

  static std::pair<int64_t, double> best_of(const std::vector<std::pair<int64_t, double>>& evaluations) {
    return *std::min_element(evaluations.begin(), evaluations.end(),
                             [](const auto& a, const auto& b) { return a.second < b.second; });
  }

  /// The weights of a checkpoint as a finished run has them: qtune's own conversion to bfloat16.
  std::string rounded(const std::string& run, int64_t step) const {
    const std::string out = (job_ / "rounded").string();
    std::filesystem::remove_all(out);
    const ProcessResult result =
        QtuneProcess({"convert", (job_ / run / ("checkpoint-" + std::to_string(step))).string(), out, "--to", "hf",
                      "--dtype", "bf16"})
            .wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return read_file(std::filesystem::path(out) / "model.safetensors");
  }

  TrainingJob job_;
};

TEST_F(BestModel, IsTheOneThatTheRunEndsWith) {
  job_.run("run", with({"load_best_model_at_end=true"}));
  const auto [step, loss] = best_of(evaluations("run"));
  ASSERT_GT(step, 2) << "the test needs a loss that falls first";
  ASSERT_LT(step, 40) << "and rises again";
  EXPECT_EQ(read_file(job_ / "run/model.safetensors"), rounded("run", step));
  job_.run("last", with({}));
  EXPECT_EQ(read_file(job_ / "last/model.safetensors"), rounded("last", 40));
}

TEST_F(BestModel, IsNotRemovedByTheLimit) {
  job_.run("run", with({"load_best_model_at_end=true", "save_total_limit=1"}));
  const int64_t best = best_of(evaluations("run")).first;
  EXPECT_THAT(job_.files("run", "checkpoint-"),
              testing::UnorderedElementsAre("checkpoint-" + std::to_string(best), "checkpoint-40"));
}

TEST_F(BestModel, IsKnownAfterAResume) {
  job_.run("whole", with({"load_best_model_at_end=true"}));
  const int64_t best = best_of(evaluations("whole")).first;
  QtuneProcess broken(job_.train("broken", with({"load_best_model_at_end=true"})));
  const std::string later = "broken/checkpoint-" + std::to_string(best + 4);
  ASSERT_TRUE(broken.wait_until([&] { return std::filesystem::exists(job_ / later); }));
  broken.send(SIGKILL);
  broken.wait();
  job_.run("broken", with({"load_best_model_at_end=true"}));
  EXPECT_EQ(read_file(job_ / "broken/model.safetensors"), read_file(job_ / "whole/model.safetensors"));
}

TEST_F(BestModel, IsSavedWheneverItIsFound) {
  job_.run("run", with({"load_best_model_at_end=true", "eval_steps=1", "save_steps=40"}));
  const int64_t best = best_of(evaluations("run")).first;
  ASSERT_LT(best, 40);
  EXPECT_EQ(read_file(job_ / "run/model.safetensors"), rounded("run", best));
}

/// There is no checkpoint of the weights before the first step.
TEST_F(BestModel, IsNotTheOneBeforeTraining) {
  job_.run("run", with({"load_best_model_at_end=true", "eval_on_start=true", "learning_rate=3", "max_steps=6"}));
  auto found = evaluations("run");
  ASSERT_EQ(best_of(found).first, 0) << "the test needs a training that makes things worse";
  found.erase(found.begin());
  EXPECT_EQ(read_file(job_ / "run/model.safetensors"), rounded("run", best_of(found).first));
}

TEST_F(BestModel, ThatIsGoneIsAnError) {
  QtuneProcess run(job_.train("run", with({"load_best_model_at_end=true", "max_steps=100000"})));
  ASSERT_TRUE(run.wait_until([&] { return std::filesystem::exists(job_ / "run/checkpoint-40"); }));
  run.send(SIGTERM);
  run.wait();
  const int64_t best = best_of(evaluations("run")).first;
  std::filesystem::remove_all(job_ / ("run/checkpoint-" + std::to_string(best)));
  const int64_t done = static_cast<int64_t>(job_.metrics("run").back().at("step"));
  const ProcessResult result =
      QtuneProcess(job_.train("run", with({"load_best_model_at_end=true", "max_steps=" + std::to_string(done)})))
          .wait();
  EXPECT_EQ(result.exit_code, kExitCheckpoint) << result.err;
  EXPECT_THAT(result.err, HasSubstr("checkpoint-" + std::to_string(best)));
  EXPECT_THAT(result.err, HasSubstr("the last weights are kept"));
}

TEST_F(BestModel, IsLookedForAnewOnOtherHeldOutSamples) {
  job_.run("run", with({"load_best_model_at_end=true", "max_steps=20"}));
  write_json_lines(job_ / "held_out.jsonl", random_samples(12, 5));
  const ProcessResult result = QtuneProcess(job_.train("run", with({"load_best_model_at_end=true"}))).wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("held-out samples are others"));
  std::vector<std::pair<int64_t, double>> later;
  for (const auto& e : evaluations("run")) {
    if (e.first > 20) later.push_back(e);
  }
  EXPECT_EQ(read_file(job_ / "run/model.safetensors"), rounded("run", best_of(later).first));
}

TEST_F(BestModel, StopsAfterSoManyEvaluationsWithoutABetterOne) {
  const Arguments arguments = with({"early_stopping_steps=3", "save_steps=7"});
  const ProcessResult result = QtuneProcess(job_.train("run", arguments)).wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto found = evaluations("run");
  const int64_t best = best_of(found).first;
  EXPECT_EQ(found.back().first, best + 3 * 2);
  EXPECT_THAT(result.err, HasSubstr("stopped early after step " + std::to_string(best + 6)));
  // The same command finds that it is over.
  const std::string metrics = read_file(job_ / "run/metrics.jsonl");
  job_.run("run", arguments);
  EXPECT_EQ(read_file(job_ / "run/metrics.jsonl"), metrics);
}

}  // namespace
}  // namespace qtune
