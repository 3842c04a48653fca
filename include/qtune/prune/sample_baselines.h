// The sample methods beside Q-Tuning's: pure functions of plain arrays.
//
// longest: the most trainable tokens (Zhao et al. 2024, "Long Is More for Alignment", arXiv 2402.04833).
// entropy: the highest mean entropy of the prediction, as the paper's baseline.
// score_file: the highest ratings (ratings.h).
// infobatch: below.
#pragma once

#include <cstdint>
#include <span>

#include "qtune/prune/pruner.h"

namespace qtune {

/// The num_kept_samples(keep, n) samples with the highest values are kept. Ties: earlier samples first.
SampleSelection keep_highest(std::span<const double> values, double keep);

struct InfoBatchOptions {
  double prune_probability = 0.5;  // r, in [0, 1)
  double anneal_from = 0.875;      // delta, in [0, 1]
  uint64_t seed = 42;
};

/// InfoBatch (Qin et al. 2024, arXiv 2303.04947, section 3): a sample whose loss is below the mean of all losses is
/// dropped with probability r, each by its own draw; if it stays, its gradient is multiplied by 1 / (1 - r). A sample
/// at or above the mean always stays, unscaled. From the share delta of training on nothing is dropped.
///
/// The loss of a sample is its mean nll. Two things differ from the paper. Its losses are those of the last epoch, free
/// of charge and stale, so the first epoch drops nothing; ours come from a score pass of the current weights over the
/// samples that are judged together, and count from the first step. And its sum is divided by the samples that are
/// left; ours by the tokens of all judged samples (LossCount::kJudged). Then every sample's share of the gradient is
/// expected to be (1 - r) * 1 / (1 - r) = 1 of its share in training on all of them, over a divisor that does not
/// depend on the draws: the gradient is unbiased exactly.
///
/// Draws come from (seed, draw, id) alone. Ties: a loss equal to the mean is not below it. Empty: an empty selection.
SampleSelection infobatch(std::span<const SampleSummary> samples, const InfoBatchOptions& options,
                          const StepContext& context);

}  // namespace qtune
