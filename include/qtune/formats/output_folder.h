// A folder that appears whole or not at all.
#pragma once

#include <filesystem>

namespace qtune {

/// Files are written into path(), a new folder beside the target; commit() renames it to the target.
/// Not committed (an exception passed by): the new folder is removed.
class OutputFolder {
 public:
  /// Empty and ties: a target that does not exist, or is an empty folder, is fine; its parents are made.
  /// Throws: ConfigError when the target is a file or holds anything, Error when the folder can't be made.
  explicit OutputFolder(const std::filesystem::path& target);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Throws: Error naming the target and the reason.
  void commit();

 private:
  std::filesystem::path target_, path_;
  bool committed_ = false;
};

}  // namespace qtune
