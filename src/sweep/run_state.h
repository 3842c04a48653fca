// How far a run of a sweep is: sweep_run.json in its folder, written whole or not at all.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qtune/sweep/sweep.h"

namespace qtune {

enum class RunStatus {
  kNew,      // never started
  kStarted,  // training; or it was when the sweep was killed
  kTrained,  // trained, its evaluation not done
  kFinished,
  kFailed,
};

/// Values of the keys that a run's results depend on, as text.
using RunSettings = std::map<std::string, std::string>;

struct RunState {
  RunStatus status = RunStatus::kNew;
  RunSettings settings;  // with which it was started
  std::string eval;      // what was evaluated, when kFinished; "" for nothing
  int exit_code = 0;     // kFailed
  std::string fault;     // kFailed: one line
};

RunSettings settings_of(const TrainConfig& config);

/// All that an evaluation's results depend on, as one text; "" without one.
std::string eval_text(const std::optional<SweepEval>& eval);

/// Without a file: kNew. Throws: DataError naming the file when it can't be read as one.
RunState read_run_state(const std::filesystem::path& run_folder);

/// Makes the folder where there is none.
void write_run_state(const std::filesystem::path& run_folder, const RunState& state);

/// "learning_rate: 0.001, now 0.01; ...". Keys that only one of them has count as their default.
std::string difference(const RunSettings& then, const RunSettings& now);

/// What is there of a training, whoever made it.
struct FolderContent {
  bool has_checkpoint = false;
  bool has_anything = false;  // metrics, a checkpoint or a trained model
};
FolderContent content_of(const std::filesystem::path& run_folder);

}  // namespace qtune
