// Short trainings with each pruner beside Q-Tuning's: what becomes of which sample and token.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "support/training_job.h"

namespace qtune {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

constexpr int kNumSamples = 40;
const Arguments kFiveSteps = {"max_steps=5"};

Arguments sample_method(const std::string& name) {
  return {"pruning.sample.method=" + name, "pruning.sample.keep=0.5"};
}
Arguments token_method(const std::string& name) { return {"pruning.token.method=" + name, "pruning.token.keep=0.5"}; }

class Pruners : public testing::Test {
 protected:
  Pruners() : samples_(random_samples(kNumSamples, 21)) {
    job_.write_data(samples_);
    for (const Json& s : samples_) sample_of_[s.at("id")] = s;
  }

  /// The lines of each step's decisions.
  std::map<int64_t, std::vector<Json>> run(const Arguments& arguments) {
    job_.run("out", kFiveSteps + arguments);
    std::map<int64_t, std::vector<Json>> steps;
    for (const Json& line : job_.decisions("out")) steps[line.at("step")].push_back(line);
    EXPECT_EQ(steps.size(), 5U);
    for (const Json& line : job_.metrics("out")) EXPECT_TRUE(line.at("loss").is_number());
    return steps;
  }

  int64_t num_trained(const Json& decision) const {
    int64_t count = 0;
    for (const Json& label : sample_of_.at(decision.at("id")).at("labels")) count += label != -100;
    return count;
  }

  /// nll of each sample's tokens under a fixture model, by `qtune score`.
  std::map<std::string, std::vector<double>> nll_under(const std::string& model) const {
    const std::string folder = std::string(QTUNE_TEST_DATA) + "/models/" + model, out = (job_ / model).string();
    const ProcessResult result =
        run_process({"score", "--model", folder, "--data", job_.data(), "--out", out, "--dtype", "float32"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    std::map<std::string, std::vector<double>> nll;
    for (const Json& line : read_json_lines(out)) nll[line.at("id")] = line.at("nll").get<std::vector<double>>();
    return nll;
  }

  TrainingJob job_;
  std::vector<Json> samples_;
  std::map<std::string, Json> sample_of_;
};

/// Half of the samples of each step are kept, none of which has a smaller value than one that is dropped.
void expect_highest_kept(const std::map<int64_t, std::vector<Json>>& steps,
                         const std::function<double(const Json&)>& value) {
  for (const auto& [step, lines] : steps) {
    double lowest_kept = INFINITY, highest_dropped = -INFINITY;
    size_t num_kept = 0;
    for (const Json& line : lines) {
      if (line.at("kept")) {
        ++num_kept;
        lowest_kept = std::min(lowest_kept, value(line));
      } else {
        highest_dropped = std::max(highest_dropped, value(line));
      }
    }
    EXPECT_EQ(num_kept, lines.size() / 2) << step;
    EXPECT_GE(lowest_kept, highest_dropped) << step;
  }
}

TEST_F(Pruners, LongestKeepsTheSamplesWithTheMostTrainedTokensWithoutAScorePass) {
  const auto steps = run(sample_method("longest"));
  expect_highest_kept(steps, [&](const Json& line) { return static_cast<double>(num_trained(line)); });
  EXPECT_TRUE(steps.at(1).front().at("ppl").is_null());
  EXPECT_EQ(job_.metrics("out").front().at("tokens_scored"), 0);
}

TEST_F(Pruners, EntropyKeepsTheLeastSureSamples) {
  expect_highest_kept(run(sample_method("entropy")), [](const Json& line) { return line.at("entropy").get<double>(); });
}

TEST_F(Pruners, RatingsChooseTheSamplesTheyRateHighest) {
  std::map<std::string, double> rating;
  std::vector<Json> lines;
  for (int i = 0; i < kNumSamples; ++i) {
    const std::string id = samples_[static_cast<size_t>(i)].at("id");
    rating[id] = (i * 7) % kNumSamples;
    lines.push_back({{"id", id}, {"score", rating[id]}});
  }
  write_json_lines(job_ / "ratings.jsonl", lines);
  const Arguments with_file =
      sample_method("score_file") + Arguments{"pruning.sample.score_file=" + (job_ / "ratings.jsonl").string()};
  expect_highest_kept(run(with_file), [&](const Json& line) { return rating.at(line.at("id")); });

  lines.pop_back();
  write_json_lines(job_ / "ratings.jsonl", lines);
  const ProcessResult result = run_process(job_.train("missing", kFiveSteps + with_file));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("found none for \"r39\" (" + job_.data() + ":40)"));
  EXPECT_EQ(job_.files("missing", "metrics").size(), 0U) << "before the first step";
}

TEST_F(Pruners, InfoBatchDropsSomeOfTheSamplesBelowTheMeanLossAndNoneAtTheEnd) {
  const auto steps = run(sample_method("infobatch") + Arguments{"pruning.sample.anneal_from=0.8"});
  int num_dropped = 0, num_scaled = 0;
  for (const auto& [step, lines] : steps) {
    double mean = 0;
    for (const Json& line : lines) mean += std::log(line.at("ppl").get<double>()) / static_cast<double>(lines.size());
    for (const Json& line : lines) {
      const bool kept = line.at("kept"), below = std::log(line.at("ppl").get<double>()) < mean;
      EXPECT_TRUE(kept || (below && step < 5));
      EXPECT_EQ(line.value("weight", 1.0), kept && below && step < 5 ? 2 : 1) << step;
      num_dropped += kept ? 0 : 1;
      num_scaled += line.contains("weight") ? 1 : 0;
    }
  }
  EXPECT_GT(num_dropped, 0);
  EXPECT_GT(num_scaled, 0);
}

TEST_F(Pruners, InfoBatchsLossIsTheWeightedSumOverTheTokensOfAll) {
  for (const std::string scope : {"global", "micro"}) {
    const auto steps =
        run(sample_method("infobatch") + Arguments{"pruning.scope=" + scope, "overwrite_output_dir=true"});
    double sum = 0, count = 0;
    for (const Json& line : steps.at(1)) {
      const double tokens = static_cast<double>(num_trained(line));
      count += tokens;
      if (line.at("kept")) sum += line.value("weight", 1.0) * tokens * std::log(line.at("ppl").get<double>());
    }
    EXPECT_NEAR(job_.metrics("out").front().at("loss").get<double>(), sum / count, 1e-5 * sum / count) << scope;
  }
}

TEST_F(Pruners, InfoBatchThatDropsNothingIsPlainTrainingBitByBit) {
  const Arguments saved = kFiveSteps + Arguments{"save_strategy=steps", "save_steps=5"};
  job_.run("plain", saved);
  job_.run("never", saved + sample_method("infobatch") + Arguments{"pruning.sample.prune_probability=0"});
  job_.run("late", saved + sample_method("infobatch") + Arguments{"pruning.sample.anneal_from=0"});
  EXPECT_TRUE(job_.weights("never", 5) == job_.weights("plain", 5));
  EXPECT_TRUE(job_.weights("late", 5) == job_.weights("plain", 5));
  job_.run("out", saved + sample_method("infobatch"));
  EXPECT_FALSE(job_.weights("out", 5) == job_.weights("plain", 5));
}

/// Of one sample, half of whose tokens stay: none that stays has a smaller value than one that goes, but for the
/// sample's two ends of turn, which stay whatever they are.
void expect_highest_tokens(const Json& decision, const std::vector<double>& values, const Json& sample) {
  const std::vector<int32_t> kept = decision.at("kept_tokens");
  EXPECT_EQ(kept.size(), (values.size() + 1) / 2);
  double lowest_kept = INFINITY, highest_gone = -INFINITY;
  size_t k = 0;
  for (size_t i = 1; i < sample.at("labels").size(); ++i) {
    if (sample["labels"][i] == -100) continue;
    const bool stays = std::find(kept.begin(), kept.end(), static_cast<int32_t>(k)) != kept.end();
    const bool ends_turn = i + 1 == sample["labels"].size() || sample["labels"][i + 1] == -100;
    if (ends_turn) {
      EXPECT_TRUE(stays || kept.size() < 2);
    } else if (stays) {
      lowest_kept = std::min(lowest_kept, values[k]);
    } else {
      highest_gone = std::max(highest_gone, values[k]);
    }
    ++k;
  }
  constexpr double kOtherPacking = 1e-4;
  EXPECT_GE(lowest_kept, highest_gone - kOtherPacking) << decision.dump();
}

TEST_F(Pruners, PplKeepsTheEasiestTokensOfEverySample) {
  const auto steps = run(token_method("ppl"));
  const auto nll = nll_under("llama_tied");
  for (const Json& line : steps.at(1)) {
    std::vector<double> values = nll.at(line.at("id"));
    for (double& v : values) v = -v;
    expect_highest_tokens(line, values, sample_of_.at(line.at("id")));
  }
}

TEST_F(Pruners, Rho1KeepsTheTokensThatTheReferenceModelKnowsBetter) {
  const std::string reference = std::string(QTUNE_TEST_DATA) + "/models/llama_untied";
  const auto steps = run(token_method("rho1") + Arguments{"pruning.token.reference_model=" + reference});
  const auto nll = nll_under("llama_tied"), other = nll_under("llama_untied");
  for (const Json& line : steps.at(1)) {
    std::vector<double> values = nll.at(line.at("id"));
    for (size_t k = 0; k < values.size(); ++k) values[k] -= other.at(line.at("id"))[k];
    expect_highest_tokens(line, values, sample_of_.at(line.at("id")));
  }
}

TEST_F(Pruners, TokenCleaningRanksTheTokensOfAllSamplesByTwoModelsThatDoNotChange) {
  const std::string reference = std::string(QTUNE_TEST_DATA) + "/models/llama_untied";
  const auto steps = run(token_method("tokencleaning") + Arguments{"pruning.token.reference_model=" + reference,
                                                                   "pruning.token.keep_end_of_turn=false"});
  const auto base = nll_under("llama_tied"), other = nll_under("llama_untied");
  for (const auto& [step, lines] : steps) {
    size_t num_tokens = 0, num_kept = 0;
    double lowest_kept = INFINITY, highest_gone = -INFINITY;
    for (const Json& line : lines) {
      EXPECT_TRUE(line.at("ppl").is_null()) << "the model in training is not asked";
      const std::vector<int32_t> kept = line.at("kept_tokens");
      const std::vector<double>&a = base.at(line.at("id")), &b = other.at(line.at("id"));
      num_tokens += a.size();
      num_kept += kept.size();
      for (size_t k = 0; k < a.size(); ++k) {
        const bool stays = std::find(kept.begin(), kept.end(), static_cast<int32_t>(k)) != kept.end();
        if (!stays) highest_gone = std::max(highest_gone, a[k] - b[k]);
        if (stays && kept.size() > 1) lowest_kept = std::min(lowest_kept, a[k] - b[k]);
      }
    }
    EXPECT_EQ(num_kept, (num_tokens + 1) / 2) << step;
    EXPECT_GE(lowest_kept, highest_gone - 1e-4) << step;
  }
}

TEST_F(Pruners, AttentionMethodsKeepHalfOfTheTokensAndTheEndsOfTurns) {
  std::string decided;
  for (const std::string method : {"fastv", "sparsevlm"}) {
    for (const std::string layer : {"1", "3"}) {
      const auto steps = run(token_method(method) + sample_method("entropy") +
                             Arguments{"pruning.token.layer=" + layer, "overwrite_output_dir=true"});
      std::string kept;
      for (const Json& line : steps.at(1)) {
        if (!line.at("kept")) continue;
        EXPECT_EQ(line.at("kept_tokens").size(), static_cast<size_t>(num_trained(line) + 1) / 2);
        EXPECT_EQ(line.at("kept_tokens").back(), num_trained(line) - 1) << "the last one ends a turn";
        kept += line.at("kept_tokens").dump();
      }
      EXPECT_NE(kept, decided) << method << " of layer " << layer;
      decided = kept;
    }
  }
}

TEST_F(Pruners, ALayerThatTheModelLacksIsAnErrorBeforeTheFirstStep) {
  const ProcessResult result =
      run_process(job_.train("out", kFiveSteps + token_method("fastv") + Arguments{"pruning.token.layer=4"}));
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("pruning.token.layer: expected one of the model's 3 layers, found 4"));
}

TEST_F(Pruners, AMissingReferenceModelIsAnErrorBeforeTheFirstStep) {
  const ProcessResult result = run_process(
      job_.train("out", kFiveSteps + token_method("rho1") + Arguments{"pruning.token.reference_model=/nowhere"}));
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, HasSubstr("/nowhere"));
}

TEST_F(Pruners, QuadrantsThatAreKeptAndPrunedCanBeChosen) {
  const auto steps =
      run(kQtuningHalf + Arguments{"pruning.sample.kept_quadrants=Q1,Q3", "pruning.token.pruned_quadrants=Q3",
                                   "pruning.token.supplement_tokens=keep"});
  int num_pruned = 0;
  for (const auto& [step, lines] : steps) {
    for (const Json& line : lines) {
      if (!line.at("kept")) continue;
      const std::string quadrant = line.at("quadrant");
      EXPECT_EQ(line.at("supplement"), quadrant != "Q1" && quadrant != "Q3");
      const bool pruned = line.at("kept_tokens").size() < static_cast<size_t>(num_trained(line));
      EXPECT_EQ(pruned, quadrant == "Q3") << line.dump();
      num_pruned += pruned ? 1 : 0;
    }
  }
  EXPECT_GT(num_pruned, 0);
}

}  // namespace
}  // namespace qtune
