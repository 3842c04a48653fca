// output_dir: whether a run may use it, for itself alone, and which checkpoint it goes on from.
#pragma once

#include <filesystem>
#include <optional>

#include "qtune/base/folder_lock.h"
#include "qtune/config/train_config.h"

namespace qtune {

/// The run's folder, locked against other runs as long as this lives. One that this run made is taken away again when
/// nothing was written to it.
class OutputDir {
 public:
  /// Throws: ConfigError when it can't be written to, another run uses it, or the model lies where the run writes.
  explicit OutputDir(const TrainConfig& config);
  ~OutputDir();
  OutputDir(const OutputDir&) = delete;
  OutputDir& operator=(const OutputDir&) = delete;

 private:
  std::filesystem::path path_;
  bool made_ = false;
  std::optional<FolderLock> lock_;
};

/// Which checkpoint to go on from, if any (by itself, unless overwrite_output_dir).
/// Throws: CheckpointError when it can't be resumed from; ConfigError when a new run would write over an old one.
std::optional<std::filesystem::path> find_checkpoint(const TrainConfig& config);

/// Whether `checkpoint` lies in `output_dir`, so that the logs there are its run's.
bool is_own_checkpoint(const std::filesystem::path& checkpoint, const std::filesystem::path& output_dir);

}  // namespace qtune
