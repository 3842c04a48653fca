// Whether what a run saves fits on its disk: looked at before any weight is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "plan.h"
#include "qtune/config/train_config.h"
#include "qtune/model/memory_estimate.h"

namespace qtune {

/// Compares the free space of output_dir, with what the run removes when it begins, to the final model and one
/// checkpoint, if any is saved. Warns when only the model fits. A run with no step left is not looked at.
/// Throws: CheckpointError naming both sizes when the final model does not fit.
void check_disk_space(const TrainConfig& config, const TrainingPlan& plan, const TrainingShape& shape,
                      const std::optional<std::filesystem::path>& checkpoint);

}  // namespace qtune
