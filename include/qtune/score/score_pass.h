// The score pass: nll and entropy of every trainable token under the current weights, without gradients.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qtune/model/model.h"
#include "qtune/prune/scores.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// Scores of `samples`, in their order, computed `micro_batch` samples at a time.
/// Empty: a sample without trainable tokens gets empty arrays.
/// Throws: Error naming the sample with a token id outside the vocabulary or a position outside the model's range.
std::vector<SampleScores> score_pass(Model& model, std::span<const TokenizedSample* const> samples,
                                     int64_t micro_batch);

/// SampleScores without nll and entropy (both empty), for pruners that don't look at them.
SampleScores unscored(const TokenizedSample& sample);

}  // namespace qtune
