// One Q-Tuning step of `qtune train` against its parts: `qtune score`, `qtune select`, and plain training on what is
// left.
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "qtune/batch/epoch_order.h"
#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

constexpr int kNumSamples = 24;
constexpr uint64_t kSeed = 42;  // the config's default
const Arguments kOneStep = {"max_steps=1", "save_strategy=steps", "save_steps=1", "gradient_accumulation_steps=6"};

std::map<std::string, Json> by_id(const std::vector<Json>& lines) {
  std::map<std::string, Json> result;
  for (const Json& line : lines) result[line.at("id")] = line;
  return result;
}

/// `qtune score` on a data file, in float32.
std::vector<Json> score(const TrainingJob& job, const std::string& data) {
  const std::string out = data + ".scores";
  const ProcessResult result =
      run_process({"score", "--model", job.model().string(), "--data", data, "--out", out, "--dtype", "float32"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return read_json_lines(out);
}

std::vector<Json> select(const TrainingJob& job, const std::vector<Json>& scores, const Arguments& options) {
  const std::string file = (job / "select.jsonl").string();
  write_json_lines(file, scores);
  const ProcessResult result = run_process(Arguments{"select", file} + options);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  write_file_atomic(job / "selected.jsonl", result.out);
  return read_json_lines(job / "selected.jsonl");
}

/// The same fates; scores may differ in their last bits, since rows are packed with others.
void expect_same_decisions(const std::vector<Json>& found, const std::vector<Json>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  const auto expected_of = by_id(expected);
  for (const Json& line : found) {
    const Json& other = expected_of.at(line.at("id"));
    for (const char* key : {"ppl", "entropy"}) {
      EXPECT_NEAR(line.at(key), other.at(key), 1e-5 * other.at(key).get<double>()) << line.at("id");
    }
    for (const char* key : {"quadrant", "kept", "supplement"}) EXPECT_EQ(line.at(key), other.at(key)) << line.at("id");
    EXPECT_EQ(line.value("kept_tokens", Json()), other.value("kept_tokens", Json())) << line.at("id");
  }
}

/// What training on `sample` with these kept tokens means, as a sample of its own: pruned tokens lose their label, or
/// leave the text.
Json pruned(const Json& sample, const Json& decision, const std::string& mode) {
  Json ids = Json::array(), labels = Json::array();
  int index = -1;
  for (size_t k = 0; k < sample.at("labels").size(); ++k) {
    const bool trained = k > 0 && sample["labels"][k] != -100;
    if (trained) ++index;
    const Json& kept = decision.at("kept_tokens");
    const bool keep = trained && std::find(kept.begin(), kept.end(), index) != kept.end();
    if (trained && !keep && mode == "drop") continue;
    ids.push_back(sample["input_ids"][k]);
    labels.push_back(keep ? sample["labels"][k] : Json(-100));
  }
  return {{"id", sample.at("id")}, {"input_ids", ids}, {"labels", labels}};
}

/// Puts samples where the sampler's shuffle brings them back into their order.
std::vector<Json> before_shuffle(const std::vector<Json>& samples) {
  const int64_t n = static_cast<int64_t>(samples.size());
  const std::vector<int64_t> order = StepSampler({.num_samples = n, .samples_per_step = n, .seed = kSeed}).next();
  std::vector<Json> file(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) file[static_cast<size_t>(order[i])] = samples[i];
  return file;
}

class PrunedStep : public testing::TestWithParam<std::string> {
 protected:
  PrunedStep() : samples_(random_samples(kNumSamples, 5)) {
    job_.write_data(samples_);
    job_.run("out", kOneStep + kQtuningHalf + Arguments{"pruning.token.mode=" + GetParam()});
    metrics_ = job_.metrics("out").at(0);
    decisions_ = job_.decisions("out");
  }

  /// The kept samples as samples of their own, in the step's order.
  std::vector<Json> kept_samples() const {
    std::vector<Json> kept;
    const auto sample_of = by_id(samples_);
    for (const Json& d : decisions_) {
      if (d.at("kept")) kept.push_back(pruned(sample_of.at(d.at("id")), d, GetParam()));
    }
    return kept;
  }

  TrainingJob job_;
  std::vector<Json> samples_, decisions_;
  Json metrics_;
};

TEST_P(PrunedStep, DecisionsAreThoseOfSelectOnScoresOfTheSameWeights) {
  const auto expected = select(job_, score(job_, job_.data()), {"--sample-keep", ".5", "--token-keep", ".5"});
  expect_same_decisions(decisions_, expected);
  EXPECT_EQ(kept_samples().size(), kNumSamples / 2U);
  EXPECT_LT(metrics_.at("tokens_trained"), metrics_.at("tokens_seen"));
}

TEST_P(PrunedStep, LossIsTheMeanNllOfTheKeptTokens) {
  const std::string data = (job_ / "kept.jsonl").string();
  write_json_lines(data, kept_samples());
  double sum = 0;
  int64_t count = 0;
  for (const Json& line : score(job_, data)) {
    for (const double nll : line.at("nll")) sum += nll;
    count += static_cast<int64_t>(line.at("nll").size());
  }
  EXPECT_EQ(metrics_.at("tokens_trained"), count);
  const double mean = sum / static_cast<double>(count);
  EXPECT_NEAR(metrics_.at("loss"), mean, 1e-5 * mean);
  if (GetParam() == "drop") return;

  // Masked tokens stay as context: the scores of the whole samples hold the same values.
  const auto scores = by_id(score(job_, job_.data()));
  double whole_sum = 0;
  for (const Json& d : decisions_) {
    for (const size_t k : d.value("kept_tokens", Json::array())) {
      whole_sum += scores.at(d.at("id")).at("nll").at(k).get<double>();
    }
  }
  EXPECT_NEAR(metrics_.at("loss"), whole_sum / static_cast<double>(count), 1e-5 * mean);
}

TEST_P(PrunedStep, RejectedSamplesAndTokensChangeNoBitOfTheUpdate) {
  const std::string data = (job_ / "plain.jsonl").string();
  write_json_lines(data, before_shuffle(kept_samples()));
  job_.run("plain", kOneStep + Arguments{"dataset=" + data});
  const Json plain = job_.metrics("plain").at(0);
  for (const char* key : {"loss", "grad_norm", "tokens_trained"}) EXPECT_EQ(plain.at(key), metrics_.at(key)) << key;
  EXPECT_TRUE(job_.weights("plain", 1) == job_.weights("out", 1));
  EXPECT_FALSE(job_.in_checkpoint("out", 1, "model.safetensors") == read_file(job_.model() / "model.safetensors"));
}

INSTANTIATE_TEST_SUITE_P(Modes, PrunedStep, testing::Values("mask", "drop"),
                         [](const auto& mode) { return mode.param; });

TEST(PruningScope, MicroDecidesEachMicroBatchAlone) {
  const TrainingJob job;
  job.write_data(random_samples(kNumSamples, 6));
  job.run("out",
          kOneStep + kQtuningHalf +
              Arguments{"pruning.scope=micro", "per_device_train_batch_size=8", "gradient_accumulation_steps=3"});
  const std::vector<Json> decisions = job.decisions("out");
  ASSERT_EQ(decisions.size(), static_cast<size_t>(kNumSamples));
  const auto scores = by_id(score(job, job.data()));
  for (auto first = decisions.begin(); first != decisions.end(); first += 8) {
    const std::vector<Json> part(first, first + 8);
    std::vector<Json> part_scores;
    for (const Json& d : part) part_scores.push_back(scores.at(d.at("id")));
    expect_same_decisions(part, select(job, part_scores, {"--sample-keep", ".5", "--token-keep", ".5"}));
  }
}

TEST(PruningOff, EqualsKeepingEverySampleAndTokenBitByBit) {
  const TrainingJob job;
  job.write_data(random_samples(kNumSamples, 7));
  const Arguments five = {"max_steps=5", "save_strategy=steps", "save_steps=5"};
  job.run("off", five);
  for (const std::string mode : {"mask", "drop"}) {
    job.run(mode, five + kQtuningHalf +
                      Arguments{"pruning.sample.keep=1.0", "pruning.token.keep=1.0", "pruning.token.mode=" + mode});
    EXPECT_TRUE(job.weights("off", 5) == job.weights(mode, 5)) << mode;
  }
}

}  // namespace
}  // namespace qtune
