// Method "random": the baseline of the paper.
#include <algorithm>
#include <numeric>

#include "methods.h"
#include "qtune/prune/sample_selection.h"
#include "random_draws.h"

namespace qtune {
namespace {

class RandomSamples : public SamplePruner {
 public:
  explicit RandomSamples(const PrunerOptions& options) : keep_(options.sample_keep), seed_(options.seed) {}
  bool needs_scores() const override { return false; }

  SampleSelection select(std::span<const SampleSummary> samples, const StepContext& context) const override {
    std::vector<uint64_t> keys(samples.size());
    for (size_t i = 0; i < samples.size(); ++i)
      keys[i] = draws_of(seed_, context.draw, Purpose::kSamples, samples[i].id, samples[i].repeat).next();
    std::vector<size_t> order(samples.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return keys[a] < keys[b]; });
    SampleSelection selection{.thresholds = {}, .verdicts = std::vector<SampleVerdict>(samples.size())};
    const int64_t target = num_kept_samples(keep_, static_cast<int64_t>(samples.size()));
    for (int64_t rank = 0; rank < target; ++rank) selection.verdicts[order[static_cast<size_t>(rank)]].kept = true;
    return selection;
  }

 private:
  double keep_;
  uint64_t seed_;
};

class RandomTokens : public SampleWiseTokens {
 public:
  explicit RandomTokens(const PrunerOptions& options)
      : keep_(options.token_keep), seed_(options.seed), keep_end_of_turn_(options.keep_end_of_turn) {}
  bool needs_scores() const override { return false; }

 private:
  std::vector<int32_t> tokens_of(const JudgedSample& sample, const StepContext& context) const override {
    const SampleScores& scores = *sample.scores;
    CounterRng rng = draws_of(seed_, context.draw, Purpose::kTokens, scores.id, sample.repeat);
    std::vector<double> keys(static_cast<size_t>(scores.num_tokens()));
    for (double& key : keys) key = rng.next_unit();
    const std::span<const uint8_t> first = keep_end_of_turn_ ? scores.end_of_turn : std::span<const uint8_t>();
    return choose_tokens(keys, first, TokenOrder::kLowest, num_kept_tokens(keep_, scores.num_tokens()));
  }

  double keep_;
  uint64_t seed_;
  bool keep_end_of_turn_;
};

}  // namespace

std::unique_ptr<SamplePruner> make_random_samples(const PrunerOptions& o) { return std::make_unique<RandomSamples>(o); }
std::unique_ptr<TokenPruner> make_random_tokens(const PrunerOptions& o) { return std::make_unique<RandomTokens>(o); }

}  // namespace qtune
