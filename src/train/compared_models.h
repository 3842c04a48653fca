// What a pruner looks at beside the scores of the model in training: other models' nll, and attention.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "qtune/config/train_config.h"
#include "qtune/model/model.h"
#include "qtune/prune/pruner.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// The models that tokens are compared with (rho1, tokencleaning): never trained, in the type of training.
struct ComparedModels {
  std::unique_ptr<Model> reference, base;
};

/// Folders of those that the pruner needs.
std::vector<std::string> compared_model_folders(const TrainConfig& config, const Pruner& pruner);

/// Loads them. Throws: CheckpointError as Model::load.
ComparedModels load_compared_models(const TrainConfig& config, const Pruner& pruner, const Model& model);

/// Fills the arrays of `needed` other than nll and entropy; `scores` are those of `samples`.
void add_extra_scores(Model& model, ComparedModels& compared, const TrainConfig& config,
                      const std::vector<ScoreArray>& needed, std::span<const TokenizedSample* const> samples,
                      std::span<SampleScores> scores);

}  // namespace qtune
