#include "qtune/prune/pruner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <limits>

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
    SampleMethod{"none", make_all_samples},
    SampleMethod{"random", make_random_samples},
    SampleMethod{"qtuning", make_qtuning_samples},
};
constexpr std::array kTokenMethods = {
    TokenMethod{"none", make_all_tokens},
    TokenMethod{"random", make_random_tokens},
    TokenMethod{"qtuning", make_qtuning_tokens},
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
  if (s.nll.size() == s.entropy.size() && fits(s.positions) && fits(s.span) && fits(s.end_of_turn)) return;
  throw Error(
      fmt::format("{}: expected arrays of one length, found nll {}, entropy {}, positions {}, span {}, end_of_turn {}",
                  s.id, s.nll.size(), s.entropy.size(), s.positions.size(), s.span.size(), s.end_of_turn.size()));
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

SampleSummary summary_of(const SampleScores& scores) {
  check_lengths(scores);
  constexpr double kNotScored = std::numeric_limits<double>::quiet_NaN();
  SampleSummary summary{
      .id = scores.id, .perplexity = kNotScored, .entropy = kNotScored, .num_tokens = scores.num_tokens()};
  if (scores.nll.empty()) return summary;
  check_values(scores);
  summary.perplexity = perplexity_of(scores.nll);
  summary.entropy = mean_entropy_of(scores.entropy);
  if (!std::isfinite(summary.entropy) || !std::isfinite(summary.perplexity))
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

PruneDecision Pruner::decide(std::span<const SampleScores> scores, uint64_t step) const {
  std::vector<SampleSummary> summaries;
  for (const SampleScores& sample : scores) {
    summaries.push_back(summary_of(sample));
    if (needs_scores() && sample.nll.empty())
      throw Error(sample.id + ": expected nll and entropy, found a sample that was not scored");
  }
  const SampleSelection selection = samples_->select(summaries, step);
  PruneDecision decision{.thresholds = selection.thresholds, .samples = {}};
  for (size_t i = 0; i < scores.size(); ++i) {
    const SampleVerdict& verdict = selection.verdicts[i];
    decision.samples.push_back({.id = scores[i].id,
                                .id_is_number = scores[i].id_is_number,
                                .perplexity = summaries[i].perplexity,
                                .entropy = summaries[i].entropy,
                                .quadrant = verdict.quadrant,
                                .kept = verdict.kept,
                                .supplement = verdict.supplement,
                                .kept_tokens = {}});
    if (verdict.kept) decision.samples.back().kept_tokens = tokens_->kept_tokens(scores[i], verdict, step);
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
