#include "qtune/formats/output_folder.h"

#include <fmt/format.h>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/temporary_name.h"

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

/// A folder beside the target, removed again unless it became the target.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& target) : target_(target) {
    std::error_code reason;
    fs::create_directories(target_.parent_path(), reason);
    for (int serial = 0; !reason; ++serial) {
      path_ = temporary_name(target_, serial);
      if (fs::create_directory(path_, reason)) return;
    }
    throw Error(fmt::format("{}: cannot create the folder: {}", target_.string(), reason.message()));
  }
  ~NewFolder() {
    std::error_code ignored;
    if (!committed_) fs::remove_all(path_, ignored);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const fs::path& path() const { return path_; }

  void commit() {
    sync_folder(path_);
    std::error_code reason;
    fs::rename(path_, target_, reason);
    if (reason)
      throw Error(fmt::format("{}: cannot rename the finished folder to it: {}", target_.string(), reason.message()));
    committed_ = true;
    sync_folder(target_.parent_path());
  }

 private:
  fs::path target_, path_;
  bool committed_ = false;
};

}  // namespace

void write_output_folder(const fs::path& target, const std::function<void(const fs::path& folder)>& write) {
  const fs::path clean_target = clean(target);
  check_free(clean_target);
  remove_leftovers(clean_target);
  NewFolder folder(clean_target);
  try {
    write(folder.path());
    folder.commit();
  } catch (const Error& e) {
    std::string message = e.what();
    const size_t at = message.find(folder.path().string());
    if (at == std::string::npos) throw;
    throw Error(message.replace(at, folder.path().string().size(), clean_target.string()), e.exit_code());
  }
}

}  // namespace qtune
