// Sweeps written inside tests.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/sweep/sweep.h"
#include "support/temp_dir.h"

namespace qtune {

inline constexpr const char* kBaseConfig =
    "model_name_or_path: models/small\n"
    "finetuning_type: full\n"
    "dataset: data.jsonl\n"
    "learning_rate: 1.0e-4\n"
    "seed: 5\n";

// The two lines that every sweep needs; tests add to them, from line 3 on.
inline constexpr const char* kSweepHead = "base: base.yaml\noutput_dir: out\n";

/// Loads a file s.yaml beside the base config.
inline Sweep load_sweep_text(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  const TempDir folder;
  write_file_atomic(folder / "base.yaml", kBaseConfig);
  write_file_atomic(folder / "s.yaml", yaml);
  return load_sweep(folder / "s.yaml", overrides);
}

/// The same behind kSweepHead.
inline Sweep load_more(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return load_sweep_text(kSweepHead + yaml, overrides);
}

/// The faults of a file, one a line, without the folder in front of s.yaml and base.yaml. "" where it loads.
inline std::string faults_of(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  const TempDir folder;
  write_file_atomic(folder / "base.yaml", kBaseConfig);
  write_file_atomic(folder / "s.yaml", yaml);
  try {
    load_sweep(folder / "s.yaml", overrides);
    return "";
  } catch (const ConfigError& e) {
    const std::string path = folder.path().string() + "/";
    std::string faults = e.what();
    for (size_t at; (at = faults.find(path)) != std::string::npos;) faults.erase(at, path.size());
    return faults;
  }
}

inline std::string faults_of_more(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  return faults_of(kSweepHead + yaml, overrides);
}

inline std::vector<std::string> names_of(const Sweep& sweep) {
  std::vector<std::string> names;
  for (const SweepRun& run : sweep.runs) names.push_back(run.name);
  return names;
}

}  // namespace qtune
