// A folder for one process at a time.
#pragma once

#include <filesystem>

namespace qtune {

/// Locks the folder itself: no file is left behind, and the kernel lets go of it however the process ends.
class FolderLock {
 public:
  FolderLock() = default;
  /// The folder exists. Where the file system has no locks, or it can't be opened, nothing is locked and nobody is
  /// known.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  /// Another process holds it: it is not locked by this one.
  bool is_taken() const { return taken_; }

 private:
  int fd_ = -1;
  bool taken_ = false;
};

}  // namespace qtune
