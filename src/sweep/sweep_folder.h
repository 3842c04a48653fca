// A sweep's folder, and what is to be done in it.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "qtune/base/folder_lock.h"
#include "qtune/sweep/run_sweep.h"
#include "run_state.h"

namespace qtune {

/// Locked against other sweeps as long as this lives.
class SweepFolder {
 public:
  /// Throws: ConfigError when it can't be written to or another sweep uses it.
  explicit SweepFolder(const std::filesystem::path& folder);

 private:
  std::optional<FolderLock> lock_;
};

/// Whether a training, of an earlier sweep say, still runs in the folder.
bool is_in_use(const std::filesystem::path& run_folder);

/// What a sweep has to do for a run.
struct RunPlan {
  RunState state;       // as it is
  bool trains = true;   // false: trained already
  bool anew = false;    // what is in the folder can't be gone on from, and is the run's own
  bool clears = false;  // the folder goes first: it was another config's
  bool done = false;
};

/// One a run. Throws: ConfigError with all runs that can't go on.
std::vector<RunPlan> plan_runs(const Sweep& sweep, ChangedRuns changed_runs);

}  // namespace qtune
