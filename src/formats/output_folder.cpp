#include "qtune/formats/output_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// Absolute, without a trailing slash, so that a name can be put beside it.
fs::path clean(const fs::path& target) {
  if (target.empty())
    throw ConfigError("output folder: expected a path, found an empty one ---> give a folder to write");
  const fs::path absolute = fs::absolute(target).lexically_normal();
  return absolute.has_filename() ? absolute : absolute.parent_path();
}

void check_free(const fs::path& target) {
  std::error_code ignored;
  const fs::file_status status = fs::status(target, ignored);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) {
    throw ConfigError(
        fmt::format("{}: expected a folder to write, found a file ---> give another path", target.string()));
  }
  if (!fs::is_empty(target, ignored)) {
    throw ConfigError(
        fmt::format("{}: expected a new or empty folder, found files in it ---> give another path or "
                    "remove it first",
                    target.string()));
  }
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& target) : target_(clean(target)) {
  check_free(target_);
  std::error_code reason;
  fs::create_directories(target_.parent_path(), reason);
  for (int serial = 0; !reason; ++serial) {
    path_ = target_;
    path_ += fmt::format(".tmp-{}-{}", ::getpid(), serial);
    if (fs::create_directory(path_, reason)) return;
  }
  throw Error(fmt::format("{}: cannot create the folder: {}", target_.string(), reason.message()));
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(path_, ignored);
}

void OutputFolder::commit() {
  sync_folder(path_);
  std::error_code reason;
  fs::rename(path_, target_, reason);
  if (reason)
    throw Error(fmt::format("{}: cannot rename the finished folder to it: {}", target_.string(), reason.message()));
  committed_ = true;
  sync_folder(target_.parent_path());
}

}  // namespace qtune
