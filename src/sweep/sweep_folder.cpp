#include "sweep_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "qtune/base/error.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

RunPlan plan_run(const Sweep& sweep, const SweepRun& run, ChangedRuns changed_runs, std::vector<std::string>& faults) {
  const fs::path folder = sweep.folder_of(run);
  RunPlan plan{.state = read_run_state(folder)};
  const FolderContent content = content_of(folder);
  const RunStatus status = plan.state.status;
  if (status == RunStatus::kNew) {
    if (content.has_anything) {
      faults.push_back(fmt::format(
          "{}: holds a training that no sweep started ---> remove it, or give another output_dir", folder.string()));
    }
    return plan;
  }
  const std::string changed = difference(plan.state.settings, settings_of(run.loaded.config));
  if (!changed.empty()) {
    plan.clears = true;
    if (content.has_anything && changed_runs == ChangedRuns::kRefuse) {
      faults.push_back(
          fmt::format("{}: run {}: was started with another config ({}) ---> --redo-changed starts it anew, "
                      "or give another output_dir or `name:`",
                      run.place, run.name, changed));
    }
    return plan;
  }
  plan.trains = status == RunStatus::kStarted || status == RunStatus::kFailed;
  plan.anew = plan.trains && content.has_anything && !content.has_checkpoint;
  const std::string eval = eval_text(sweep.eval);
  plan.done = status == RunStatus::kFinished && (eval.empty() || plan.state.eval == eval);
  return plan;
}

}  // namespace

SweepFolder::SweepFolder(const fs::path& folder) {
  std::error_code reason;
  fs::create_directories(folder / "runs", reason);
  if (!reason && ::access(folder.c_str(), W_OK | X_OK) != 0) reason = {errno, std::generic_category()};
  if (reason) {
    throw ConfigError(fmt::format("output_dir: {}: expected a folder to write to: {} ---> give another path",
                                  folder.string(), reason.message()));
  }
  if (!lock_.emplace(folder).is_taken()) return;
  throw ConfigError(fmt::format(
      "output_dir: {}: in use by another sweep ---> wait for its end, or give another output_dir", folder.string()));
}

bool is_in_use(const fs::path& run_folder) { return FolderLock(run_folder).is_taken(); }

std::vector<RunPlan> plan_runs(const Sweep& sweep, ChangedRuns changed_runs) {
  std::vector<RunPlan> plans;
  std::vector<std::string> faults;
  for (const SweepRun& run : sweep.runs) plans.push_back(plan_run(sweep, run, changed_runs, faults));
  if (!faults.empty()) throw ConfigError(fmt::format("{}", fmt::join(faults, "\n")));
  return plans;
}

}  // namespace qtune
