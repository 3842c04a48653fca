#include "output_dir.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/checkpoint/checkpoint.h"
#include "qtune/checkpoint/final_model.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// One form for all paths to the same place; what does not exist is taken as it is written.
fs::path place_of(const fs::path& path) {
  std::error_code failed;
  const fs::path place = fs::weakly_canonical(fs::absolute(path), failed);
  const fs::path result = failed ? path.lexically_normal() : place;
  return result.has_filename() ? result : result.parent_path();
}

/// Whether `path` lies in a checkpoint-N folder of `output`.
bool is_among_checkpoints(const fs::path& path, const fs::path& output) {
  const fs::path inside = path.lexically_relative(output);
  return !inside.empty() && inside.begin()->string().starts_with("checkpoint-");
}

/// A run's, not a checkpoint's.
bool is_run_folder(const fs::path& folder) {
  if (is_qtune_checkpoint(folder) || !fs::is_directory(folder)) return false;
  return fs::exists(folder / "metrics.jsonl") || !list_own_checkpoints(folder).empty();
}

/// The run writes the trained model to output_dir, and writes and removes checkpoint-N in it.
void check_not_in_the_way(const TrainConfig& config) {
  const fs::path output = place_of(config.output_dir);
  const TokenPruning& token = config.pruning.token;
  for (const auto& [key, path] : {std::pair{"model_name_or_path", config.model_name_or_path},
                                  std::pair{"adapter_name_or_path", config.adapter_name_or_path.value_or("")},
                                  std::pair{"pruning.token.reference_model", token.reference_model.value_or("")},
                                  std::pair{"pruning.token.base_model", token.base_model.value_or("")}}) {
    if (path.empty()) continue;
    if (output == place_of(path)) {
      throw ConfigError(
          fmt::format("output_dir: {}: this is {}, which the trained model would replace ---> give another output_dir",
                      config.output_dir, key));
    }
    if (!is_among_checkpoints(place_of(path), output)) continue;
    throw ConfigError(
        fmt::format("output_dir: {}: {} ({}) lies among its checkpoints, which this run would remove "
                    "or replace ---> give another output_dir",
                    config.output_dir, key, path));
  }
  const std::string& checkpoint = config.resume_from_checkpoint.value_or("");
  if (!checkpoint.empty() && output == place_of(checkpoint) && !is_run_folder(checkpoint)) {
    throw ConfigError(
        fmt::format("output_dir: {}: this is resume_from_checkpoint, which the trained model would replace ---> give "
                    "another output_dir",
                    config.output_dir));
  }
}

bool holds_metrics(const fs::path& folder) {
  std::error_code failed;
  const auto metrics_bytes = fs::file_size(folder / "metrics.jsonl", failed);
  return !failed && metrics_bytes > 0;
}

bool holds_run(const fs::path& folder) {
  return holds_metrics(folder) || holds_final_model(folder) || !list_checkpoints(folder).empty();
}

[[noreturn]] void refuse(const TrainConfig& config, const std::string& way) {
  throw ConfigError(
      fmt::format("output_dir: {} already holds a run ---> {}overwrite_output_dir: true to start anew, "
                  "or another output_dir",
                  config.output_dir, way));
}

fs::path named_checkpoint(const TrainConfig& config, const fs::path& checkpoint) {
  if (!fs::is_directory(checkpoint)) {
    throw CheckpointError(fmt::format("resume_from_checkpoint: {}: no such folder", checkpoint.string()));
  }
  if (is_run_folder(checkpoint)) {
    const auto newest = newest_checkpoint(checkpoint);
    throw CheckpointError(fmt::format(
        "resume_from_checkpoint: {}: expected a checkpoint, found a run's folder {}", checkpoint.string(),
        newest ? "---> name its newest checkpoint, " + newest->string() : "that holds none to resume from"));
  }
  if (const auto fault = fault_of_checkpoint(checkpoint)) {
    throw CheckpointError(
        fmt::format("{}: can't be resumed from: {} ---> name an earlier checkpoint, or resume_from_checkpoint: true "
                    "for the newest whole one",
                    checkpoint.string(), *fault));
  }
  const bool starts_logs = !is_own_checkpoint(checkpoint, config.output_dir);
  if (starts_logs && !config.overwrite_output_dir && holds_run(config.output_dir)) {
    refuse(config, "resume_from_checkpoint: true to go on with it, ");
  }
  return checkpoint;
}

}  // namespace

OutputDir::OutputDir(const TrainConfig& config) : path_(config.output_dir) {
  check_not_in_the_way(config);
  std::error_code reason;
  made_ = fs::create_directories(path_, reason);
  if (!reason && access(path_.c_str(), W_OK | X_OK) != 0) reason = {errno, std::generic_category()};
  if (reason) {
    throw ConfigError(fmt::format("output_dir: {}: expected a folder to write to: {} ---> give another path",
                                  path_.string(), reason.message()));
  }
  if (!lock_.emplace(path_).is_taken()) return;
  throw ConfigError(fmt::format(
      "output_dir: {}: in use by another run ---> wait for its end, or give another output_dir", path_.string()));
}

OutputDir::~OutputDir() {
  std::error_code ignored;
  if (made_) fs::remove(path_, ignored);  // of a folder: only an empty one
}

bool is_own_checkpoint(const fs::path& checkpoint, const fs::path& output_dir) {
  return place_of(checkpoint).parent_path() == place_of(output_dir);
}

std::optional<fs::path> find_checkpoint(const TrainConfig& config) {
  const std::string wish = config.resume_from_checkpoint.value_or("");
  if (!wish.empty() && wish != "true" && wish != "false") return named_checkpoint(config, wish);
  if (config.overwrite_output_dir && wish != "true") return std::nullopt;
  auto newest = newest_checkpoint(config.output_dir);
  // Others' checkpoints alone are no reason to stop a run that has begun beside them.
  const bool begun_beside = list_own_checkpoints(config.output_dir).empty() && holds_metrics(config.output_dir);
  if (!newest && !list_checkpoints(config.output_dir).empty() && !begun_beside) {
    // Starting anew here would throw away what a user can perhaps still save.
    throw CheckpointError(
        fmt::format("{}: expected a whole checkpoint to go on from, found none among its checkpoints ---> set "
                    "overwrite_output_dir: true to start anew, or another output_dir",
                    config.output_dir));
  }
  if (wish == "true" && !newest) {
    throw CheckpointError(fmt::format(
        "resume_from_checkpoint: true: {} holds no checkpoint ---> remove the key to start anew", config.output_dir));
  }
  if (wish == "false" && newest) {
    throw ConfigError(
        fmt::format("resume_from_checkpoint: false, but {} exists ---> set overwrite_output_dir: true, or "
                    "another output_dir",
                    newest->string()));
  }
  if (newest || !holds_run(config.output_dir)) return newest;
  if (holds_final_model(config.output_dir)) refuse(config, "");
  // A job that a scheduler starts again has to come up by itself.
  spdlog::warn("{}: the run in it ended before its first checkpoint; starting anew", config.output_dir);
  return std::nullopt;
}

}  // namespace qtune
