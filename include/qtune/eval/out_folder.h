// The folder of an evaluation's answers, for one evaluation at a time.
#pragma once

#include <filesystem>
#include <optional>

#include "qtune/base/folder_lock.h"

namespace qtune {

/// Made where it is missing, and locked as long as this lives. One that this made is taken away again when nothing was
/// written to it.
class EvalOutFolder {
 public:
  /// Throws: ConfigError naming the path when it can't be written to or another evaluation uses it.
  explicit EvalOutFolder(const std::filesystem::path& path);
  ~EvalOutFolder();
  EvalOutFolder(const EvalOutFolder&) = delete;
  EvalOutFolder& operator=(const EvalOutFolder&) = delete;

 private:
  std::filesystem::path path_;
  bool made_ = false;
  std::optional<FolderLock> lock_;
};

}  // namespace qtune
