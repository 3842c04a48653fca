#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "qtune/base/error.h"
#include "qtune/sweep/sweep.h"
#include "run_name.h"
#include "sweep_file.h"

namespace qtune {
namespace {

constexpr size_t kMaxRuns = 10'000;
constexpr size_t kMaxNameBytes = 200;
constexpr size_t kMaxRunsNamed = 3;

/// A run before its config is read.
struct PlannedRun {
  std::string place;
  std::optional<std::string> pattern;
  SweepChange changes;  // without the seed
  SweepChange seed;     // empty: the base file's
};

void append(SweepChange& to, const SweepChange& more) { to.insert(to.end(), more.begin(), more.end()); }

std::vector<SweepChange> multiplied(const std::vector<SweepAxis>& axes) {
  std::vector<SweepChange> product = {{}};
  for (const SweepAxis& axis : axes) {
    std::vector<SweepChange> next;
    for (const SweepChange& so_far : product) {
      for (const SweepChange& value : axis.values) {
        append(next.emplace_back(so_far), value);
        if (next.size() > kMaxRuns) {
          throw ConfigError(fmt::format("grid: expected at most {} runs, found more", kMaxRuns));
        }
      }
    }
    product = std::move(next);
  }
  return product;
}

std::vector<PlannedRun> expand(const SweepFile& file) {
  std::vector<PlannedRun> runs;
  const std::vector<SweepChange> seeds = file.seeds.empty() ? std::vector<SweepChange>{{}} : file.seeds;
  const auto add = [&](const std::string& place, const std::optional<std::string>& pattern,
                       const SweepChange& changes) {
    for (const SweepChange& seed : seeds) runs.push_back({place, pattern, changes, seed});
  };
  if (!file.grid.empty()) {
    for (const SweepChange& changes : multiplied(file.grid)) add(file.grid_place, file.name, changes);
  }
  for (const SweepListItem& item : file.list) add(item.place, item.name ? item.name : file.name, item.changes);
  if (file.grid.empty() && file.list.empty()) add(file.seeds_place, file.name, {});
  return runs;
}

/// Faults, each once, with the runs that have it.
class RunFaults {
 public:
  void add(const std::string& faults, const std::string& run) {
    std::istringstream lines(faults);
    for (std::string line; std::getline(lines, line);) {
      if (runs_[line].empty()) order_.push_back(line);
      runs_[line].push_back(run);
    }
  }

  std::vector<std::string> lines(size_t num_runs) const {
    std::vector<std::string> result;
    for (const std::string& fault : order_) {
      const std::vector<std::string>& runs = runs_.at(fault);
      if (runs.size() == num_runs) {
        result.push_back(fault);
        continue;
      }
      const size_t shown = std::min(runs.size(), kMaxRunsNamed);
      std::string names = fmt::format("{}", fmt::join(runs.begin(), runs.begin() + static_cast<long>(shown), "; "));
      if (shown < runs.size()) names += fmt::format("; and {} more", runs.size() - shown);
      result.push_back(fmt::format("{} ({} {})", fault, runs.size() == 1 ? "run" : "runs", names));
    }
    return result;
  }

 private:
  std::vector<std::string> order_;
  std::map<std::string, std::vector<std::string>> runs_;
};

/// The values that hold for all runs.
struct Overrides {
  SweepChange entries;
  std::string output_dir;
};

/// An override of a key that the sweep varies would make runs equal.
std::string fault_of_override(const ConfigEntry& entry, const std::vector<PlannedRun>& runs) {
  const auto touches = [&](const ConfigEntry& change) {
    return change.key == entry.key || change.key.starts_with(entry.key + ".");
  };
  for (const PlannedRun& run : runs) {
    const bool changed = std::any_of(run.changes.begin(), run.changes.end(), touches) ||
                         (!run.seed.empty() && touches(run.seed.front()));
    if (changed) return fmt::format("command line: {}: the sweep's file varies it ---> change the file", entry.key);
  }
  return "";
}

Overrides read_overrides(const std::vector<std::string>& texts, const std::vector<PlannedRun>& runs,
                         std::vector<std::string>& faults) {
  Overrides overrides;
  for (const std::string& text : texts) {
    ParsedEntries parsed = parse_override(text);
    faults.insert(faults.end(), parsed.faults.begin(), parsed.faults.end());
    for (const ConfigEntry& entry : parsed.entries) {
      if (entry.key == "output_dir" && entry.kind == ConfigEntry::Kind::kText) {
        overrides.output_dir = entry.values[0];
        continue;
      }
      const std::string fault = fault_of_override(entry, runs);
      if (!fault.empty()) faults.push_back(fault);
      overrides.entries.push_back(entry);
    }
  }
  return overrides;
}

ConfigEntry own_setting(const std::string& key, const std::string& value) {
  if (value.empty()) return {.key = key, .place = "sweep", .kind = ConfigEntry::Kind::kNull, .values = {}};
  return {.key = key, .place = "sweep", .kind = ConfigEntry::Kind::kText, .values = {value}};
}

/// All changes of a run against the base file, in the order in which they hold.
SweepChange all_changes(const PlannedRun& run, const Overrides& overrides) {
  SweepChange changes = run.changes;
  append(changes, overrides.entries);
  append(changes, run.seed);
  append(changes, {own_setting("output_dir", "runs"), own_setting("overwrite_output_dir", "false"),
                   own_setting("resume_from_checkpoint", ""), own_setting("dry_run", "false")});
  return changes;
}

std::string run_name(const PlannedRun& run, const TrainConfig& config) {
  if (!run.pattern) {
    SweepChange changes = run.changes;
    append(changes, run.seed);
    return default_run_name(changes);
  }
  const bool needs_seed = !run.seed.empty() && run.pattern->find("{seed}") == std::string::npos;
  return filled_in(*run.pattern + (needs_seed ? "-seed{seed}" : ""), config);
}

std::string fault_of_name(const std::string& name) {
  if (name.empty()) return "expected a name, found an empty one ---> write a name or a pattern";
  if (name.size() <= kMaxNameBytes) return "";
  return fmt::format("expected a name of at most {} bytes, found {} ---> give a pattern with `name:`", kMaxNameBytes,
                     name.size());
}

/// Reads every run's config; what is wrong goes to `faults`.
std::vector<SweepRun> load_runs(const std::vector<PlannedRun>& planned, const SweepFile& file,
                                const Overrides& overrides, std::vector<std::string>& faults) {
  std::vector<SweepRun> runs;
  RunFaults found;
  std::map<std::string, std::string> places;  // of names
  for (const PlannedRun& plan : planned) {
    SweepChange named = plan.changes;
    append(named, plan.seed);
    SweepRun run{.name = default_run_name(named), .place = plan.place, .loaded = {}};
    try {
      run.loaded = load_changed_config(*file.base, all_changes(plan, overrides));
      run.name = run_name(plan, run.loaded.config);
    } catch (const ConfigError& e) {
      const bool of_name = std::string(e.what()).starts_with("name: ");
      found.add((of_name ? plan.place + ": " : "") + e.what(), run.name);
      continue;
    }
    const auto [first, fresh] = places.emplace(run.name, run.place);
    if (const std::string fault = fault_of_name(run.name); !fault.empty()) {
      faults.push_back(fmt::format("{}: name: {}", run.place, fault));
    } else if (!fresh) {
      faults.push_back(
          fmt::format("{}: run {}: a name given twice, first at {} ---> give a `name:` that tells them apart",
                      run.place, run.name, first->second));
    }
    runs.push_back(std::move(run));
  }
  const std::vector<std::string> lines = found.lines(planned.size());
  faults.insert(faults.end(), lines.begin(), lines.end());
  return runs;
}

}  // namespace

Sweep load_sweep(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  SweepFile written = read_sweep_file(file);
  std::vector<std::string> faults = std::move(written.faults);
  const std::vector<PlannedRun> planned = expand(written);
  const Overrides for_all = read_overrides(overrides, planned, faults);
  Sweep sweep{.file = file, .folder = written.output_dir, .runs = {}, .eval = written.eval, .devices = written.devices};
  if (!for_all.output_dir.empty()) sweep.folder = for_all.output_dir;
  if (written.base) sweep.runs = load_runs(planned, written, for_all, faults);
  if (!faults.empty()) throw ConfigError(fmt::format("{}", fmt::join(faults, "\n")));
  for (SweepRun& run : sweep.runs) run.loaded.config.output_dir = sweep.folder_of(run).string();
  return sweep;
}

}  // namespace qtune
