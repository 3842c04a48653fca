// The pruning methods; pruner.cpp lists them by name. Options are checked before.
#pragma once

#include <memory>

#include "qtune/prune/pruner.h"

namespace qtune {

std::unique_ptr<SamplePruner> make_qtuning_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_all_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_random_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_longest_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_entropy_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_infobatch_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_rated_samples(const PrunerOptions& options);

std::unique_ptr<TokenPruner> make_qtuning_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_all_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_random_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_ppl_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_attention_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_rho1_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_tokencleaning_tokens(const PrunerOptions& options);

/// A token method that looks at each sample alone.
class SampleWiseTokens : public TokenPruner {
 public:
  std::vector<std::vector<int32_t>> kept_tokens(std::span<const JudgedSample> samples,
                                                const StepContext& context) const final {
    std::vector<std::vector<int32_t>> kept;
    for (const JudgedSample& s : samples) kept.push_back(tokens_of(s, context));
    return kept;
  }

 private:
  virtual std::vector<int32_t> tokens_of(const JudgedSample& sample, const StepContext& context) const = 0;
};

/// 0..num_tokens-1.
std::vector<int32_t> all_tokens(int64_t num_tokens);

}  // namespace qtune
