#include "qtune/prune/pruner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>

#include "methods.h"
#include "qtune/base/error.h"
#include "qtune/prune/sample_selection.h"

namespace qtune {
namespace {

struct SampleMethod {
  const char* name;
  std::unique_ptr<SamplePruner> (*make)(const PrunerOptions&);
};
struct TokenMethod {
  const char* name;
  std::unique_ptr<TokenPruner> (*make)(const PrunerOptions&);
};

constexpr std::array kSampleMethods = {
    SampleMethod{"none", make_all_samples},         SampleMethod{"random", make_random_samples},
    SampleMethod{"longest", make_longest_samples},  SampleMethod{"entropy", make_entropy_samples},
    SampleMethod{"qtuning", make_qtuning_samples},  SampleMethod{"infobatch", make_infobatch_samples},
    SampleMethod{"score_file", make_rated_samples},
};
constexpr std::array kTokenMethods = {
    TokenMethod{"none", make_all_tokens},
    TokenMethod{"random", make_random_tokens},
    TokenMethod{"ppl", make_ppl_tokens},
    TokenMethod{"qtuning", make_qtuning_tokens},
    TokenMethod{"fastv", make_attention_tokens},
    TokenMethod{"sparsevlm", make_attention_tokens},  // they differ in how attention is counted
    TokenMethod{"rho1", make_rho1_tokens},
    TokenMethod{"tokencleaning", make_tokencleaning_tokens},
};

template <class Methods>
std::vector<std::string> names_of(const Methods& methods) {
  std::vector<std::string> names;
  for (const auto& method : methods) names.emplace_back(method.name);
  return names;
}

template <class Methods>
auto find_method(const Methods& methods, const std::string& name) -> decltype(&methods[0]) {
  for (const auto& method : methods)
    if (name == method.name) return &method;
  return nullptr;
}

std::string unknown_method(const char* key, const std::string& name, const std::vector<std::string>& known) {
  const std::string near = nearest_name(name, known);
  return fmt::format("{}: expected one of {}, found \"{}\" ---> {}", key, fmt::join(known, ", "), name,
                     near.empty() ? "name one of them" : "did you mean " + near + "?");
}

void check_options(const PrunerOptions& o) {
  std::vector<std::string> faults;
  if (find_method(kSampleMethods, o.sample_method) == nullptr)
    faults.push_back(unknown_method("pruning.sample.method", o.sample_method, sample_method_names()));
  if (find_method(kTokenMethods, o.token_method) == nullptr)
    faults.push_back(unknown_method("pruning.token.method", o.token_method, token_method_names()));
  const auto check_share = [&](const char* key, double value) {
    if (value > 0 && value <= 1) return;  // a NaN fails both
    faults.push_back(
        fmt::format("{}: expected a number above 0 and up to 1, found {} ---> give the share to keep", key, value));
  };
  check_share("pruning.sample.keep", o.sample_keep);
  check_share("pruning.token.keep", o.token_keep);
  if (!(o.lambda >= 0 && o.lambda <= 1))
    faults.push_back(
        fmt::format("pruning.token.lambda: expected a number from 0 to 1, found {} ---> 0.5 is usual", o.lambda));
  if (o.iterations < 1 || o.iterations > 1000)
    faults.push_back(fmt::format("pruning.iterations: expected 1 to 1000, found {} ---> 10 is usual", o.iterations));
  if (o.kept_quadrants.empty())
    faults.push_back("pruning.sample: expected at least one kept quadrant, found none ---> Q2 and Q4 are usual");
  if (!(o.prune_probability >= 0 && o.prune_probability < 1))
    faults.push_back(
        fmt::format("pruning.sample.prune_probability: expected a number from 0 to below 1, found {} ---> 0.5 is usual",
                    o.prune_probability));
  if (!(o.anneal_from >= 0 && o.anneal_from <= 1))
    faults.push_back(fmt::format(
        "pruning.sample.anneal_from: expected a number from 0 to 1, found {} ---> 0.875 is usual", o.anneal_from));
  if (o.sample_method == "score_file" && o.score_file.empty())
    faults.push_back("pruning.sample.score_file: expected a file, found none ---> method score_file reads its ratings");
  if (o.token_method == "qtuning" && o.sample_method != "qtuning")
    faults.push_back(
        fmt::format("pruning.token.method: qtuning needs the quadrants of pruning.sample.method qtuning, found \"{}\" "
                    "there ---> set pruning.sample.method to qtuning (keep: 1.0 keeps every sample)",
                    o.sample_method));
  if (!faults.empty()) throw ConfigError(fmt::format("{}", fmt::join(faults, "\n")));
}

void check_lengths(const SampleScores& s) {
  const size_t n = static_cast<size_t>(s.num_tokens());
  if (n == 0) throw Error(fmt::format("{}: expected at least one trainable token, found none ---> leave it out", s.id));
  const auto fits = [n](const auto& values) { return values.empty() || values.size() == n; };
  const bool extra_fit = fits(s.reference_nll) && fits(s.base_nll) && fits(s.attention);
  if (s.nll.size() == s.entropy.size() && fits(s.positions) && fits(s.span) && fits(s.end_of_turn) && extra_fit) return;
  throw Error(
      fmt::format("{}: expected arrays of one length, found nll {}, entropy {}, positions {}, span {}, end_of_turn {}, "
                  "reference_nll {}, base_nll {}, attention {}",
                  s.id, s.nll.size(), s.entropy.size(), s.positions.size(), s.span.size(), s.end_of_turn.size(),
                  s.reference_nll.size(), s.base_nll.size(), s.attention.size()));
}

void check_values(const SampleScores& s) {
  for (size_t k = 0; k < s.nll.size(); ++k) {
    if (!std::isfinite(s.nll[k]) || !std::isfinite(s.entropy[k]))
      throw NonFiniteError(
          fmt::format("{}: expected finite scores, found nll {} and entropy {} at its trainable token {} ---> "
                      "the model's weights or its input are broken there",
                      s.id, s.nll[k], s.entropy[k], k));
    if (s.entropy[k] < 0)
      throw Error(
          fmt::format("{}: expected an entropy of at least 0, found {} at trainable token {}", s.id, s.entropy[k], k));
  }
}

const char* name_of(ScoreArray array) {
  if (array == &SampleScores::nll) return "nll";
  if (array == &SampleScores::entropy) return "entropy";
  if (array == &SampleScores::reference_nll) return "reference_nll";
  return array == &SampleScores::base_nll ? "base_nll" : "attention";
}

void check_extra(const SampleScores& s) {
  for (const ScoreArray array : {&SampleScores::reference_nll, &SampleScores::base_nll, &SampleScores::attention}) {
    for (const double value : s.*array) {
      if (!std::isfinite(value))
        throw NonFiniteError(
            fmt::format("{}: expected finite values in {}, found {} ---> the model's weights are "
                        "broken",
                        s.id, name_of(array), value));
    }
  }
}

void check_filled(const SampleScores& s, const std::vector<ScoreArray>& needed) {
  for (const ScoreArray array : needed) {
    if ((s.*array).empty())
      throw Error(fmt::format("{}: expected nll, entropy and what else the methods need, found a sample without {}",
                              s.id, name_of(array)));
  }
}

SampleSummary summary_of(const SampleScores& scores) {
  check_lengths(scores);
  check_extra(scores);
  constexpr double kNotScored = std::numeric_limits<double>::quiet_NaN();
  SampleSummary summary{.id = scores.id,
                        .perplexity = kNotScored,
                        .entropy = kNotScored,
                        .mean_nll = kNotScored,
                        .num_tokens = scores.num_tokens()};
  if (scores.nll.empty()) return summary;
  check_values(scores);
  summary.perplexity = perplexity_of(scores.nll);
  summary.entropy = mean_entropy_of(scores.entropy);
  summary.mean_nll = mean_nll_of(scores.nll);
  if (!std::isfinite(summary.entropy) || !std::isfinite(summary.mean_nll))
    throw NonFiniteError(fmt::format("{}: expected finite means, found ones that overflow", scores.id));
  return summary;
}

}  // namespace

SupplementTokens parse_supplement_tokens(const std::string& name) {
  if (name == "by_side") return SupplementTokens::kBySide;
  if (name == "keep") return SupplementTokens::kKeep;
  if (name == "prune") return SupplementTokens::kPrune;
  throw ConfigError("supplement_tokens: expected by_side, keep or prune, found \"" + name + "\" ---> name one of them");
}

Pruner::Pruner(std::unique_ptr<const SamplePruner> samples, std::unique_ptr<const TokenPruner> tokens)
    : samples_(std::move(samples)), tokens_(std::move(tokens)) {}

bool Pruner::needs_scores() const { return samples_->needs_scores() || tokens_->needs_scores(); }

std::vector<ScoreArray> Pruner::needed_arrays() const {
  std::vector<ScoreArray> arrays = tokens_->extra_arrays();
  if (needs_scores()) arrays.insert(arrays.begin(), {&SampleScores::nll, &SampleScores::entropy});
  return arrays;
}

PruneDecision Pruner::decide(std::span<const SampleScores> scores, const StepContext& context) const {
  const std::vector<ScoreArray> needed = needed_arrays();
  std::vector<SampleSummary> summaries;
  std::map<std::string_view, uint64_t> seen;
  for (const SampleScores& sample : scores) {
    summaries.push_back(summary_of(sample));
    summaries.back().repeat = seen[sample.id]++;
    check_filled(sample, needed);
  }
  const SampleSelection selection = samples_->select(summaries, context);
  PruneDecision decision{.thresholds = selection.thresholds, .samples = {}};
  std::vector<JudgedSample> counted;  // whose tokens the loss is divided by
  std::vector<size_t> place;          // of each among all samples
  for (size_t i = 0; i < scores.size(); ++i) {
    const SampleVerdict& verdict = selection.verdicts[i];
    decision.samples.push_back({.id = scores[i].id,
                                .id_is_number = scores[i].id_is_number,
                                .perplexity = summaries[i].perplexity,
                                .entropy = summaries[i].entropy,
                                .quadrant = verdict.quadrant,
                                .kept = verdict.kept,
                                .supplement = verdict.supplement,
                                .weight = verdict.weight,
                                .kept_tokens = {}});
    if (!verdict.kept && selection.loss_count == LossCount::kKept) continue;
    counted.push_back({&scores[i], &verdict, summaries[i].repeat});
    place.push_back(i);
  }
  std::vector<std::vector<int32_t>> kept_tokens = tokens_->kept_tokens(counted, context);
  for (size_t k = 0; k < counted.size(); ++k) {
    decision.loss_tokens += static_cast<int64_t>(kept_tokens[k].size());
    SampleDecision& sample = decision.samples[place[k]];
    if (sample.kept) sample.kept_tokens = std::move(kept_tokens[k]);
  }
  return decision;
}

Pruner make_pruner(const PrunerOptions& options) {
  check_options(options);
  return Pruner(find_method(kSampleMethods, options.sample_method)->make(options),
                find_method(kTokenMethods, options.token_method)->make(options));
}

std::vector<std::string> sample_method_names() { return names_of(kSampleMethods); }
std::vector<std::string> token_method_names() { return names_of(kTokenMethods); }

}  // namespace qtune
