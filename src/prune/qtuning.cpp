// Method "qtuning": the two stages of Q-Tuning, put together from sample_selection.h and token_salience.h.
#include "methods.h"
#include "qtune/prune/sample_selection.h"

namespace qtune {
namespace {

class QtuningSamples : public SamplePruner {
 public:
  explicit QtuningSamples(const PrunerOptions& options)
      : bisection_{
            .keep = options.sample_keep, .iterations = options.iterations, .kept_quadrants = options.kept_quadrants} {}
  bool needs_scores() const override { return true; }

  SampleSelection select(std::span<const SampleSummary> samples, const StepContext&) const override {
    if (samples.empty()) return {};
    std::vector<double> perplexity, entropy;
    for (const SampleSummary& sample : samples) {
      perplexity.push_back(sample.perplexity);
      entropy.push_back(sample.entropy);
    }
    const Partition partition = bisect_thresholds(perplexity, entropy, bisection_);
    const std::vector<double> sides = sides_of(perplexity, entropy);
    const int64_t target = num_kept_samples(bisection_.keep, static_cast<int64_t>(samples.size()));
    const std::vector<uint8_t> kept = choose_samples(partition.quadrants, sides, bisection_.kept_quadrants, target);

    SampleSelection selection{.thresholds = partition.thresholds, .verdicts = {}};
    for (size_t i = 0; i < samples.size(); ++i) {
      const Quadrant quadrant = partition.quadrants[i];
      selection.verdicts.push_back({.quadrant = quadrant,
                                    .kept = kept[i] != 0,
                                    .supplement = kept[i] != 0 && !bisection_.kept_quadrants.contains(quadrant),
                                    .side = sides[i]});
    }
    return selection;
  }

 private:
  BisectionOptions bisection_;
};

class QtuningTokens : public SampleWiseTokens {
 public:
  explicit QtuningTokens(const PrunerOptions& options) : options_(options) {}
  bool needs_scores() const override { return true; }

 private:
  std::vector<int32_t> tokens_of(const JudgedSample& sample, const StepContext&) const override {
    const SampleScores& scores = *sample.scores;
    const SampleVerdict& verdict = *sample.verdict;
    if (!is_pruned(verdict)) return all_tokens(scores.num_tokens());
    const std::vector<double> salience = token_salience(scores.nll, scores.span, options_.lambda, options_.neighbours);
    const std::span<const uint8_t> first = options_.keep_end_of_turn ? scores.end_of_turn : std::span<const uint8_t>();
    return choose_tokens(salience, first, options_.reverse ? TokenOrder::kHighest : TokenOrder::kLowest,
                         num_kept_tokens(options_.token_keep, scores.num_tokens()));
  }

  bool is_pruned(const SampleVerdict& verdict) const {
    if (options_.pruned_quadrants.contains(verdict.quadrant)) return true;
    if (!verdict.supplement) return false;
    if (options_.supplement_tokens == SupplementTokens::kBySide) return verdict.side > 0;
    return options_.supplement_tokens == SupplementTokens::kPrune;
  }

  PrunerOptions options_;
};

}  // namespace

std::unique_ptr<SamplePruner> make_qtuning_samples(const PrunerOptions& options) {
  return std::make_unique<QtuningSamples>(options);
}

std::unique_ptr<TokenPruner> make_qtuning_tokens(const PrunerOptions& options) {
  return std::make_unique<QtuningTokens>(options);
}

}  // namespace qtune
