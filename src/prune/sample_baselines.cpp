#include "qtune/prune/sample_baselines.h"

#include <algorithm>
#include <numeric>

#include "methods.h"
#include "qtune/prune/ratings.h"
#include "qtune/prune/sample_selection.h"
#include "random_draws.h"

namespace qtune {

SampleSelection keep_highest(std::span<const double> values, double keep) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] > values[b]; });
  SampleSelection selection{.verdicts = std::vector<SampleVerdict>(values.size())};
  order.resize(static_cast<size_t>(num_kept_samples(keep, static_cast<int64_t>(values.size()))));
  for (const size_t i : order) selection.verdicts[i].kept = true;
  return selection;
}

namespace {

double mean_loss_of(std::span<const SampleSummary> samples) {
  double sum = 0, largest = samples[0].mean_nll;
  for (const SampleSummary& s : samples) {
    sum += s.mean_nll;
    largest = std::max(largest, s.mean_nll);
  }
  // Rounded up, the mean of equal losses would lie above all of them, and nothing would be sure to stay.
  return std::min(largest, sum / static_cast<double>(samples.size()));
}

}  // namespace

SampleSelection infobatch(std::span<const SampleSummary> samples, const InfoBatchOptions& options,
                          const StepContext& context) {
  SampleSelection selection{.verdicts = std::vector<SampleVerdict>(samples.size(), SampleVerdict{.kept = true}),
                            .loss_count = LossCount::kJudged};
  if (samples.empty() || context.progress >= options.anneal_from) return selection;
  const double mean = mean_loss_of(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    if (!(samples[i].mean_nll < mean)) continue;
    CounterRng rng = draws_of(options.seed, context.draw, Purpose::kInfoBatch, samples[i].id, samples[i].repeat);
    selection.verdicts[i].kept = rng.next_unit() >= options.prune_probability;
    if (selection.verdicts[i].kept) selection.verdicts[i].weight = 1 / (1 - options.prune_probability);
  }
  return selection;
}

namespace {

class LongestSamples : public SamplePruner {
 public:
  explicit LongestSamples(const PrunerOptions& options) : keep_(options.sample_keep) {}
  bool needs_scores() const override { return false; }
  SampleSelection select(std::span<const SampleSummary> samples, const StepContext&) const override {
    std::vector<double> lengths;
    for (const SampleSummary& s : samples) lengths.push_back(static_cast<double>(s.num_tokens));
    return keep_highest(lengths, keep_);
  }

 private:
  double keep_;
};

class EntropySamples : public SamplePruner {
 public:
  explicit EntropySamples(const PrunerOptions& options) : keep_(options.sample_keep) {}
  bool needs_scores() const override { return true; }
  SampleSelection select(std::span<const SampleSummary> samples, const StepContext&) const override {
    std::vector<double> entropies;
    for (const SampleSummary& s : samples) entropies.push_back(s.entropy);
    return keep_highest(entropies, keep_);
  }

 private:
  double keep_;
};

class RatedSamples : public SamplePruner {
 public:
  explicit RatedSamples(const PrunerOptions& options) : keep_(options.sample_keep), ratings_(options.score_file) {}
  bool needs_scores() const override { return false; }
  SampleSelection select(std::span<const SampleSummary> samples, const StepContext&) const override {
    std::vector<double> scores;
    for (const SampleSummary& s : samples) scores.push_back(ratings_.of(s.id));
    return keep_highest(scores, keep_);
  }
  void check_sample(std::string_view id, const std::string& place) const override { ratings_.of(id, place); }

 private:
  double keep_;
  Ratings ratings_;
};

class InfoBatchSamples : public SamplePruner {
 public:
  explicit InfoBatchSamples(const PrunerOptions& o)
      : options_{.prune_probability = o.prune_probability, .anneal_from = o.anneal_from, .seed = o.seed} {}
  bool needs_scores() const override { return true; }
  SampleSelection select(std::span<const SampleSummary> samples, const StepContext& context) const override {
    return infobatch(samples, options_, context);
  }

 private:
  InfoBatchOptions options_;
};

}  // namespace

std::unique_ptr<SamplePruner> make_longest_samples(const PrunerOptions& o) {
  return std::make_unique<LongestSamples>(o);
}
std::unique_ptr<SamplePruner> make_entropy_samples(const PrunerOptions& o) {
  return std::make_unique<EntropySamples>(o);
}
std::unique_ptr<SamplePruner> make_rated_samples(const PrunerOptions& o) { return std::make_unique<RatedSamples>(o); }
std::unique_ptr<SamplePruner> make_infobatch_samples(const PrunerOptions& o) {
  return std::make_unique<InfoBatchSamples>(o);
}

}  // namespace qtune
