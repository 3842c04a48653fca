// What can be refused before any weight is read, for a run and its dry run alike.
#pragma once

#include <ATen/core/Tensor.h>

#include "plan.h"
#include "qtune/config/train_config.h"
#include "qtune/prune/pruner.h"

namespace qtune {

/// Looks at weight files (the model's and those of models that tokens are compared with), ratings, layers and the
/// device's arithmetic.
/// Throws: CheckpointError or ConfigError naming file, sample or key.
void check_before_weights(const TrainConfig& config, const Pruner& pruner, const TrainingPlan& plan, at::Device device);

}  // namespace qtune
