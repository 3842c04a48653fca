// The score pass: nll and entropy of every trainable token under the current weights, without gradients.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qtune/model/model.h"
#include "qtune/prune/scores.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// Scores of `samples`, in their order, computed `micro_batch` samples at a time. kFp8: of the weights as they were at
/// the last model.prepare_fp8_scores().
/// Empty: a sample without trainable tokens gets empty arrays.
/// Throws: as Model::score (load_samples has refused such ids before, by the sample's name).
std::vector<SampleScores> score_pass(Model& model, std::span<const TokenizedSample* const> samples, int64_t micro_batch,
                                     ScoreType type = ScoreType::kCompute);

struct AttentionScores {
  int64_t layer = 2;  // from 1
  AttentionRule rule = AttentionRule::kFastV;
};

/// `attention` of each of `samples`, computed as score_pass does.
/// Throws: as Model::attention_to_targets.
std::vector<std::vector<double>> attention_pass(Model& model, std::span<const TokenizedSample* const> samples,
                                                int64_t micro_batch, const AttentionScores& wanted);

/// SampleScores without nll and entropy (both empty), for pruners that don't look at them.
SampleScores unscored(const TokenizedSample& sample);

}  // namespace qtune
