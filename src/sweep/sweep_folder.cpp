#include "sweep_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

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
  if (!reason) fd_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd_ < 0 || ::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw ConfigError(fmt::format("output_dir: {}: expected a folder to write to: {} ---> give another path",
                                  folder.string(), reason ? reason.message() : std::strerror(errno)));
  }
  // The kernel lets go of it however this process ends.
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(fd_);
  throw ConfigError(fmt::format(
      "output_dir: {}: in use by another sweep ---> wait for its end, or give another output_dir", folder.string()));
}

SweepFolder::~SweepFolder() { ::close(fd_); }

bool is_in_use(const fs::path& run_folder) {
  const int fd = ::open(run_folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool in_use = ::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  ::close(fd);
  return in_use;
}

std::vector<RunPlan> plan_runs(const Sweep& sweep, ChangedRuns changed_runs) {
  std::vector<RunPlan> plans;
  std::vector<std::string> faults;
  for (const SweepRun& run : sweep.runs) plans.push_back(plan_run(sweep, run, changed_runs, faults));
  if (!faults.empty()) throw ConfigError(fmt::format("{}", fmt::join(faults, "\n")));
  return plans;
}

}  // namespace qtune
