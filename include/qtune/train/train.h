// Training: from a configuration to a trained model folder. Plain SFT and every pruning method take the same path.
#pragma once

#include "qtune/config/load_config.h"

namespace qtune {

/// Runs a whole training (or continues one) and writes output_dir. Returns kExitOk, or kExitInterrupted after a signal
/// (SIGINT, SIGTERM, SIGHUP): then the current step was finished and a checkpoint saved.
/// Throws: qtune::Error with its exit code (base/error.h).
int run_training(const LoadedConfig& config);

}  // namespace qtune
