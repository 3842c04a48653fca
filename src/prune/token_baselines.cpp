#include "qtune/prune/token_baselines.h"

#include <algorithm>
#include <tuple>

#include "methods.h"

namespace qtune {
namespace {

std::vector<double> difference(std::span<const double> a, std::span<const double> b) {
  std::vector<double> values(a.size());
  for (size_t k = 0; k < a.size(); ++k) values[k] = a[k] - b[k];
  return values;
}

struct Candidate {
  double key;  // the lowest goes first
  int rank;    // 0: its sample's one sure token, 1: flagged as first, 2: any other
  size_t sample;
  int32_t token;

  auto order() const { return std::tuple(rank, key, sample, token); }
  bool operator<(const Candidate& other) const { return order() < other.order(); }
};

}  // namespace

std::vector<double> excess_loss(const SampleScores& scores) { return difference(scores.nll, scores.reference_nll); }

std::vector<double> token_influence(const SampleScores& scores) {
  return difference(scores.base_nll, scores.reference_nll);
}

std::vector<std::vector<int32_t>> choose_over_samples(std::span<const std::vector<double>> values,
                                                      std::span<const std::vector<uint8_t>> first, TokenOrder order,
                                                      double keep) {
  std::vector<Candidate> all;
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t begin = all.size();
    for (size_t k = 0; k < values[i].size(); ++k) {
      const bool flagged = !first.empty() && !first[i].empty() && first[i][k] != 0;
      all.push_back({.key = order == TokenOrder::kLowest ? values[i][k] : -values[i][k],
                     .rank = flagged ? 1 : 2,
                     .sample = i,
                     .token = static_cast<int32_t>(k)});
    }
    std::min_element(all.begin() + static_cast<std::ptrdiff_t>(begin), all.end())->rank = 0;
  }
  std::sort(all.begin(), all.end());
  const int64_t wanted = num_kept_tokens(keep, static_cast<int64_t>(all.size()));
  all.resize(static_cast<size_t>(std::max(wanted, static_cast<int64_t>(values.size()))));
  std::vector<std::vector<int32_t>> kept(values.size());
  for (const Candidate& c : all) kept[c.sample].push_back(c.token);
  for (std::vector<int32_t>& tokens : kept) std::sort(tokens.begin(), tokens.end());
  return kept;
}

namespace {

TokenOrder turned_if(bool reverse, TokenOrder order) {
  if (!reverse) return order;
  return order == TokenOrder::kLowest ? TokenOrder::kHighest : TokenOrder::kLowest;
}

/// A sample's tokens by one number each.
class RankedTokens : public SampleWiseTokens {
 public:
  struct Rule {
    std::vector<double> (*values)(const SampleScores&);
    TokenOrder order;  // which end stays
    bool needs_scores;
    std::vector<ScoreArray> extra_arrays;
  };

  RankedTokens(const PrunerOptions& options, Rule rule)
      : rule_(std::move(rule)),
        order_(turned_if(options.reverse, rule_.order)),
        keep_(options.token_keep),
        keep_end_of_turn_(options.keep_end_of_turn) {}
  bool needs_scores() const override { return rule_.needs_scores; }
  std::vector<ScoreArray> extra_arrays() const override { return rule_.extra_arrays; }

 private:
  std::vector<int32_t> tokens_of(const JudgedSample& sample, const StepContext&) const override {
    const SampleScores& scores = *sample.scores;
    const std::span<const uint8_t> first = keep_end_of_turn_ ? scores.end_of_turn : std::span<const uint8_t>();
    return choose_tokens(rule_.values(scores), first, order_, num_kept_tokens(keep_, scores.num_tokens()));
  }

  Rule rule_;
  TokenOrder order_;
  double keep_;
  bool keep_end_of_turn_;
};

class CleanedTokens : public TokenPruner {
 public:
  explicit CleanedTokens(const PrunerOptions& options)
      : order_(turned_if(options.reverse, TokenOrder::kHighest)),
        keep_(options.token_keep),
        keep_end_of_turn_(options.keep_end_of_turn) {}
  bool needs_scores() const override { return false; }
  std::vector<ScoreArray> extra_arrays() const override {
    return {&SampleScores::reference_nll, &SampleScores::base_nll};
  }
  std::vector<std::vector<int32_t>> kept_tokens(std::span<const JudgedSample> samples,
                                                const StepContext&) const override {
    std::vector<std::vector<double>> values;
    std::vector<std::vector<uint8_t>> first;
    for (const JudgedSample& s : samples) {
      values.push_back(token_influence(*s.scores));
      if (keep_end_of_turn_) first.push_back(s.scores->end_of_turn);
    }
    return choose_over_samples(values, first, order_, keep_);
  }

 private:
  TokenOrder order_;
  double keep_;
  bool keep_end_of_turn_;
};

}  // namespace

std::unique_ptr<TokenPruner> make_ppl_tokens(const PrunerOptions& options) {
  return std::make_unique<RankedTokens>(options,
                                        RankedTokens::Rule{.values = [](const SampleScores& s) { return s.nll; },
                                                           .order = TokenOrder::kLowest,
                                                           .needs_scores = true,
                                                           .extra_arrays = {}});
}

std::unique_ptr<TokenPruner> make_attention_tokens(const PrunerOptions& options) {
  return std::make_unique<RankedTokens>(options,
                                        RankedTokens::Rule{.values = [](const SampleScores& s) { return s.attention; },
                                                           .order = TokenOrder::kHighest,
                                                           .needs_scores = false,
                                                           .extra_arrays = {&SampleScores::attention}});
}

std::unique_ptr<TokenPruner> make_rho1_tokens(const PrunerOptions& options) {
  return std::make_unique<RankedTokens>(options, RankedTokens::Rule{.values = excess_loss,
                                                                    .order = TokenOrder::kHighest,
                                                                    .needs_scores = true,
                                                                    .extra_arrays = {&SampleScores::reference_nll}});
}

std::unique_ptr<TokenPruner> make_tokencleaning_tokens(const PrunerOptions& options) {
  return std::make_unique<CleanedTokens>(options);
}

}  // namespace qtune
