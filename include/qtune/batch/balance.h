// Which rank trains which samples, so that none waits long for another.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace qtune {

/// Rank of each sample, such that the largest sum of tokens of a rank is small: longest first to the rank that has
/// least (Graham 1969), then moves and swaps out of the fullest rank as long as they help, then a bounded search
/// through all assignments, which is complete for a dozen samples. Depends on its arguments alone, so every rank finds
/// the same. Empty: no samples. Ties: the earlier sample, the lower rank. world_size is at least 1.
std::vector<int> balance_by_tokens(std::span<const int64_t> num_tokens, int world_size);

}  // namespace qtune
