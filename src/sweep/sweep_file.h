// A sweep's file as it is written: nothing multiplied out, no value checked that a training's config checks.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "qtune/config/yaml_entries.h"
#include "qtune/sweep/sweep.h"

namespace qtune {

/// One value of a grid's key, or one seed: a few entries where the value is a section ("pruning: {...}").
using SweepChange = std::vector<ConfigEntry>;

struct SweepAxis {
  std::string key;
  std::vector<SweepChange> values;
};

struct SweepListItem {
  std::string place;
  std::optional<std::string> name;  // a pattern of its own
  SweepChange changes;
};

struct SweepFile {
  std::optional<std::filesystem::path> base;  // as it is to be opened
  std::string output_dir;
  std::optional<std::string> name;
  std::string name_place, grid_place, seeds_place;
  std::vector<SweepAxis> grid;
  std::vector<SweepListItem> list;
  std::vector<SweepChange> seeds;
  std::vector<std::string> devices;
  std::optional<SweepEval> eval;
  std::vector<std::string> faults;
};

/// Throws: ConfigError when the file can't be read. What is wrong in it stands in `faults`.
SweepFile read_sweep_file(const std::filesystem::path& file);

}  // namespace qtune
