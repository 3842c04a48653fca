// Runs a sweep: each training a process of its own, in turn or side by side.
#pragma once

#include <filesystem>

#include "qtune/sweep/sweep.h"

namespace qtune {

/// What becomes of runs that were started with another config.
enum class ChangedRuns {
  kRefuse,
  kRedo,  // their folders are removed
};

struct SweepOptions {
  std::filesystem::path program;  // qtune itself
  int num_jobs = 1;               // runs at a time; with devices, one on each
  ChangedRuns changed_runs = ChangedRuns::kRefuse;
};

/// Trains what is not finished, and writes results.csv, results.json and table.md after each run. A run that fails is
/// shown and does not stop the others. SIGINT and SIGTERM stop the runs, which save; so does the end of this process,
/// however it comes. Returns kExitOk; kExitError when runs failed; kExitInterrupted.
/// Throws: ConfigError with all runs that can't go on (another config, another's folder), before any is started; Error
/// when another sweep uses the folder.
int run_sweep(const Sweep& sweep, const SweepOptions& options);

}  // namespace qtune
