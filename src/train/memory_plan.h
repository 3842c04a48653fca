// Whether a run fits into memory: decided before any weight is read.
#pragma once

#include "plan.h"
#include "qtune/config/train_config.h"
#include "qtune/model/memory_estimate.h"
#include "qtune/prune/pruner.h"

namespace qtune {

/// The largest micro-batch of the first epoch before pruning (what `longest` keeps is known: the largest after it), its
/// adapter, the models beside it, and gradient_checkpointing as the config has it (null: off). Tokens rule the memory,
/// targets the head's share: each is the most of any micro-batch. Throws: CheckpointError for an adapter that does not
/// fit the model.
TrainingShape training_shape(const TrainConfig& config, const Pruner& pruner, const TrainingPlan& plan);

/// gradient_checkpointing: null. True where training takes more than nine tenths of `available_bytes` without it.
bool needs_gradient_checkpointing(const ModelConfig& model, const TrainingShape& shape, int64_t available_bytes);

/// training_shape with gradient_checkpointing decided by the device's free memory where the config leaves it open; says
/// so in the log when that turns it on. The `ranks_here` ranks of this host share its memory; a GPU is one rank's.
TrainingShape decided_shape(const TrainConfig& config, const Pruner& pruner, const TrainingPlan& plan,
                            at::Device device, int ranks_here);

}  // namespace qtune
