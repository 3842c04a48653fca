// The token methods beside Q-Tuning's that rank tokens: pure functions of plain arrays. All act on every kept sample,
// keep end-of-turn tokens first where keep_end_of_turn says so, and turn around with `reverse`.
//
// ppl: the lowest perplexity, that is the lowest nll, stays: Q-Tuning's salience without neighbours (lambda 0).
// fastv, sparsevlm: the most attention stays (model/attention_received.h has the rules).
// rho1: the highest excess loss stays, within each sample (Lin et al. 2024, arXiv 2404.07965, Eq. 3 and 4).
// tokencleaning: the highest influence stays, over all samples (below).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qtune/prune/scores.h"
#include "qtune/prune/token_salience.h"

namespace qtune {

/// nll - reference_nll of each token: how much there is to learn that the reference model has learned. In the paper the
/// current model's nll against that of a model trained on good data; its share is taken of a batch, ours of a sample.
std::vector<double> excess_loss(const SampleScores& scores);

/// base_nll - reference_nll of each token: the influence that training the base model to the reference model had on it.
/// Token Cleaning (Pang et al. 2025, arXiv 2502.01968), "fixed-model cleaning": both models stay as they are.
std::vector<double> token_influence(const SampleScores& scores);

/// Token Cleaning's global ranking: of all tokens of all samples the share `keep` with the highest values stays
/// (kHighest), so samples keep different shares. Of each sample, ascending indices.
/// Tokens flagged in `first` (a vector for each sample; may be empty) go before all others. Every sample keeps at least
/// one token, its first in that order, since a sample without any can't train; those count before all others.
/// The count is num_kept_tokens(keep, all tokens), or the number of samples where that is more.
/// Ties: earlier samples, then earlier tokens, first. The paper ranks the whole data set once; here it is the samples
/// that are judged together.
std::vector<std::vector<int32_t>> choose_over_samples(std::span<const std::vector<double>> values,
                                                      std::span<const std::vector<uint8_t>> first, TokenOrder order,
                                                      double keep);

}  // namespace qtune
