// Many trainings from one file: a grid, a list, seeds (docs/sweeps.md).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "qtune/config/load_config.h"

namespace qtune {

struct SweepRun {
  std::string name;   // also its folder's
  std::string place;  // where it is written: "sweep.yaml:14"
  LoadedConfig loaded;
};

/// `eval:`, what `qtune eval` does with each trained model. Values as the command takes them.
struct SweepEval {
  std::vector<std::string> tasks;
  std::string data_dir;
  std::optional<std::string> limit, style;
};

struct Sweep {
  std::filesystem::path file, folder;  // the sweep's file; its output_dir
  std::vector<SweepRun> runs;  // in file order: the grid's, its last key fastest; then the list's; seeds fastest
  std::optional<SweepEval> eval;
  std::vector<std::string> devices;  // a run at a time on each; empty: on whatever a training takes by itself

  /// output_dir of a run.
  std::filesystem::path folder_of(const SweepRun& run) const { return folder / "runs" / run.name; }
};

/// Reads a sweep's file and checks every run's config. `overrides` ("key=value") hold for all runs; "output_dir=F" is
/// the sweep's own.
/// Throws: ConfigError with all faults, one a line, each once: "sweep.yaml:9: KEY: ... (run NAME)".
Sweep load_sweep(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

}  // namespace qtune
