// Stage 2 of Q-Tuning: which tokens of a kept sample are trained (paper, Eq. 7). Pure functions of plain arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace qtune {

/// How the two neighbours' perplexities enter: the formula of the paper adds them, its words say average.
enum class Neighbours { kSum, kMean };

/// Which end of the ranking stays. kHighest is the paper's ablation ("reversed PPL").
enum class TokenOrder { kLowest, kHighest };

/// "sum" or "mean". Throws: ConfigError naming both.
Neighbours parse_neighbours(const std::string& name);

/// s_k = (1 - lambda) p_k + lambda (p_{k-1} + p_{k+1}) with p = exp(nll) (kMean halves the bracket).
/// A neighbour outside the same run of trainable positions counts as p_k. `span` numbers the runs; empty: one run.
std::vector<double> token_salience(std::span<const double> nll, std::span<const int32_t> span, double lambda,
                                   Neighbours neighbours);

/// max(1, ceil(fraction * num_tokens)), never more than num_tokens; 0 of 0. 1e-9 is taken off before rounding up.
int64_t num_kept_tokens(double fraction, int64_t num_tokens);

/// Ascending indices of the `target` tokens with the lowest (or highest) salience. Ties: earlier tokens first.
/// Tokens flagged in `first` (may be empty) are taken before all others, whatever their salience.
std::vector<int32_t> choose_tokens(std::span<const double> salience, std::span<const uint8_t> first, TokenOrder order,
                                   int64_t target);

}  // namespace qtune
