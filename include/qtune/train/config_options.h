// From the configuration's keys to the options that data, text and prune take. One place, so that train, score and
// inspect see the same samples.
#pragma once

#include <string>
#include <vector>

#include "qtune/config/load_config.h"
#include "qtune/model/model.h"
#include "qtune/prune/pruner.h"
#include "qtune/score/score_pass.h"
#include "qtune/text/load_samples.h"

namespace qtune {

enum class DatasetUse {
  kTraining,  // `dataset`, mixed as mix_strategy says
  kHeldOut,   // `eval_dataset`, one after the other
};

/// How to load the samples. Only a cutoff_len that the user set is held against the model's positions.
LoadSamplesOptions sample_options(const LoadedConfig& loaded, DatasetUse use, const ModelConfig& model);

/// How to load the model: type, adapter, plain twins.
ModelOptions model_options(const TrainConfig& config);

/// What the score pass computes in: pruning.score_dtype.
ScoreType score_type(const TrainConfig& config);

/// What fastv and sparsevlm count.
AttentionScores attention_scores(const TrainConfig& config);

PrunerOptions pruner_options(const TrainConfig& config);

/// Layers must have multiples of 16 rows and columns. Throws: ConfigError, beginning with `what` was asked for.
void check_fp8_sizes(const char* what, const ModelConfig& model);

}  // namespace qtune
