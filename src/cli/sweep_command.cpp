// qtune sweep: many trainings from one file (docs/sweeps.md).
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "commands.h"
#include "number_range.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/sweep/run_sweep.h"
#include "qtune/train/dry_run.h"
#include "streams.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// A folder for trainings that only look at one: nothing is left of it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (fs::temp_directory_path() / "qtune-sweep-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw Error(pattern + ": cannot make a folder");
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// The value of a line "name   value" of a dry run's text.
std::string value_in(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + " ")) continue;
    return line.substr(std::min(line.find_first_not_of(' ', name.size()), line.size()));
  }
  return "";
}

/// Every run checked as its training would check it: config, model files, data. Nothing is trained or written.
int dry_run_sweep(const Sweep& sweep) {
  const ScratchFolder scratch;
  size_t num_failed = 0;
  for (const SweepRun& run : sweep.runs) {
    LoadedConfig loaded = run.loaded;
    loaded.config.output_dir = (scratch.path() / "run").string();
    try {
      const std::string text = dry_run(loaded, MarkStyle::kBrackets);
      const std::string steps = value_in(text, "steps");
      const size_t comma = std::min(steps.find(','), steps.size());
      write_output(fmt::format("{}: {} steps{}; {} samples; pruned: {}\n", run.name, steps.substr(0, comma),
                               steps.substr(comma), value_in(text, "samples"), value_in(text, "pruning")));
    } catch (const Error& e) {
      ++num_failed;
      write_output(fmt::format("{}: fails\n", run.name));
      spdlog::warn("{}: run {}: {}", run.place, run.name, e.what());
    }
    flush_output();
    spdlog::set_level(spdlog::level::warn);  // what is said of the data was said for the first run
  }
  if (num_failed == 0) return kExitOk;
  throw ConfigError(fmt::format("{}: {} of {} runs would fail ---> see the warnings above", sweep.file.string(),
                                num_failed, sweep.runs.size()));
}

struct SweepArguments {
  std::string config;
  std::vector<std::string> overrides;
  int num_jobs = 1;
  bool dry_run = false, redo_changed = false;
};

int run_sweep_command(const SweepArguments& a) {
  const Sweep sweep = load_sweep(a.config, a.overrides);
  if (!sweep.devices.empty() && a.num_jobs > 1) {
    throw ConfigError("--jobs: given beside the sweep's `devices:`, which run one each ---> keep one of them");
  }
  if (a.dry_run) return dry_run_sweep(sweep);
  return run_sweep(sweep, {.program = "/proc/self/exe",  // the same program though its file be replaced meanwhile
                           .num_jobs = a.num_jobs,
                           .changed_runs = a.redo_changed ? ChangedRuns::kRedo : ChangedRuns::kRefuse});
}

}  // namespace

void add_sweep_command(CLI::App& app, Action& action) {
  auto a = std::make_shared<SweepArguments>();
  CLI::App* command = app.add_subcommand("sweep", "Many trainings from one file, into one table; goes on when killed");
  command->add_option("--config", a->config, "The sweep's file: base, output_dir, grid, list, seeds (docs/sweeps.md)")
      ->required();
  command->add_option("overrides", a->overrides, "key=value for all runs");
  command->add_option("--jobs", a->num_jobs, "Runs at a time, without `devices:`")->check(number_between(1, 1024));
  command->add_flag("--dry-run", a->dry_run, "Check every run's config, model files and data; show its steps");
  command->add_flag("--redo-changed", a->redo_changed,
                    "Start runs anew whose config has changed; what they had trained is removed");
  command->callback([a, &action] { action = [a] { return run_sweep_command(*a); }; });
}

}  // namespace qtune
