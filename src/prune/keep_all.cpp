// Method "none": plain fine-tuning as the pruner that keeps all.
#include <numeric>

#include "methods.h"

namespace qtune {
namespace {

class AllSamples : public SamplePruner {
 public:
  bool needs_scores() const override { return false; }
  SampleSelection select(std::span<const SampleSummary> samples, const StepContext&) const override {
    return {.thresholds = {}, .verdicts = std::vector<SampleVerdict>(samples.size(), SampleVerdict{.kept = true})};
  }
};

class AllTokens : public SampleWiseTokens {
 public:
  bool needs_scores() const override { return false; }

 private:
  std::vector<int32_t> tokens_of(const JudgedSample& sample, const StepContext&) const override {
    const SampleScores& scores = *sample.scores;
    return all_tokens(scores.num_tokens());
  }
};

}  // namespace

std::vector<int32_t> all_tokens(int64_t num_tokens) {
  std::vector<int32_t> indices(static_cast<size_t>(num_tokens));
  std::iota(indices.begin(), indices.end(), 0);
  return indices;
}

std::unique_ptr<SamplePruner> make_all_samples(const PrunerOptions&) { return std::make_unique<AllSamples>(); }
std::unique_ptr<TokenPruner> make_all_tokens(const PrunerOptions&) { return std::make_unique<AllTokens>(); }

}  // namespace qtune
