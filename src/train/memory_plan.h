// Whether a run fits into memory: decided before any weight is read.
#pragma once

#include "plan.h"
#include "qtune/config/train_config.h"
#include "qtune/model/memory_estimate.h"

namespace qtune {

/// The largest micro-batch of the first epoch before pruning, its adapter, and gradient_checkpointing as the config has
/// it (null: off). Tokens rule the memory, targets the head's share: each is the most of any micro-batch. Throws:
/// CheckpointError for an adapter that does not fit the model.
TrainingShape training_shape(const TrainConfig& config, const TrainingPlan& plan);

/// gradient_checkpointing: null. True where training takes more than nine tenths of `available_bytes` without it.
bool needs_gradient_checkpointing(const ModelConfig& model, const TrainingShape& shape, int64_t available_bytes);

/// training_shape with gradient_checkpointing decided by the device's free memory where the config leaves it open; says
/// so in the log when that turns it on.
TrainingShape decided_shape(const TrainConfig& config, const TrainingPlan& plan, at::Device device);

}  // namespace qtune
