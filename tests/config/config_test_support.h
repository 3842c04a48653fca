// Loading configurations written inside tests.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/config/load_config.h"
#include "support/temp_dir.h"

namespace qtune {

// The four lines every run needs; tests add to them.
inline constexpr const char* kRequiredKeys =
    "model_name_or_path: model\n"
    "finetuning_type: full\n"
    "dataset: data.jsonl\n"
    "output_dir: out\n";

/// Loads `yaml` from a file c.yaml.
inline LoadedConfig load_text(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  const TempDir folder;
  write_file_atomic(folder / "c.yaml", yaml);
  return load_train_config(folder / "c.yaml", overrides);
}

/// The same behind the required keys, so that its first line is line 5.
inline LoadedConfig load_more(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return load_text(kRequiredKeys + yaml, overrides);
}

/// The faults of a file, one a line, without the folder in front of c.yaml. "" where it loads.
inline std::string faults_of(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  const TempDir folder;
  write_file_atomic(folder / "c.yaml", yaml);
  try {
    load_train_config(folder / "c.yaml", overrides);
    return "";
  } catch (const ConfigError& e) {
    const std::string path = folder.path().string() + "/";
    std::string faults = e.what();
    for (size_t at; (at = faults.find(path)) != std::string::npos;) faults.erase(at, path.size());
    return faults;
  }
}

inline std::string faults_of_more(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return faults_of(kRequiredKeys + yaml, overrides);
}

}  // namespace qtune
