// The pruning methods; pruner.cpp lists them by name. Options are checked before.
#pragma once

#include <memory>

#include "qtune/prune/pruner.h"

namespace qtune {

std::unique_ptr<SamplePruner> make_qtuning_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_all_samples(const PrunerOptions& options);
std::unique_ptr<SamplePruner> make_random_samples(const PrunerOptions& options);

std::unique_ptr<TokenPruner> make_qtuning_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_all_tokens(const PrunerOptions& options);
std::unique_ptr<TokenPruner> make_random_tokens(const PrunerOptions& options);

/// 0..num_tokens-1.
std::vector<int32_t> all_tokens(int64_t num_tokens);

}  // namespace qtune
