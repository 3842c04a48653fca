#include "qtune/eval/out_folder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "qtune/base/error.h"

namespace qtune {

namespace fs = std::filesystem;

EvalOutFolder::EvalOutFolder(const fs::path& path) : path_(path) {
  std::error_code reason;
  made_ = fs::create_directories(path_, reason);
  if (!reason && access(path_.c_str(), W_OK | X_OK) != 0) reason = {errno, std::generic_category()};
  if (!reason && !fs::is_directory(path_)) reason = std::make_error_code(std::errc::not_a_directory);
  if (reason) {
    throw ConfigError(fmt::format("--out: {}: expected a folder to write to, found: {} ---> name another --out",
                                  path_.string(), reason.message()));
  }
  if (!lock_.emplace(path_).is_taken()) return;
  throw ConfigError(fmt::format(
      "--out: {}: expected a folder for this evaluation alone, found another one at work in it ---> wait for its end, "
      "or name another --out",
      path_.string()));
}

EvalOutFolder::~EvalOutFolder() {
  std::error_code ignored;
  if (made_) fs::remove(path_, ignored);  // of a folder: only an empty one
}

}  // namespace qtune
