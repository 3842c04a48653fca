// Loading and checking a training configuration.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qtune/config/train_config.h"
#include "qtune/config/yaml_entries.h"

namespace qtune {

struct LoadedConfig {
  TrainConfig config;
  std::map<std::string, std::string> origins;  // of every key: "default", "file.yaml:14" or "command line"
  std::vector<std::string> notes;  // one line each, for the log: keys without use here, options without effect
};

/// Reads `file` (none: defaults alone), then `overrides` ("key=value", later ones win), and checks all of it.
/// An override's value may be a YAML list or map in brackets; "pruning=null" takes a whole section back.
/// Throws: ConfigError with all faults, one a line: "file.yaml:14: KEY: what was expected, what was found".
LoadedConfig load_train_config(const std::optional<std::filesystem::path>& file,
                               const std::vector<std::string>& overrides = {});

/// The same with entries of another file, in which their faults are then placed.
LoadedConfig load_changed_config(const std::optional<std::filesystem::path>& file,
                                 const std::vector<ConfigEntry>& changes);

/// The notes, a line each, in the log.
void log_notes(const LoadedConfig& loaded);

}  // namespace qtune
