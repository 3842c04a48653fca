#include "sample_cache.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <tuple>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/hash.h"
#include "qtune/base/log.h"
#include "qtune/base/temporary_name.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// To be raised with every change in how samples are read, rendered, tokenized, cut or stored.
constexpr int kVersion = 4;

constexpr const char* kModelFiles[] = {"tokenizer.json",          "tokenizer.model",   "tokenizer_config.json",
                                       "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"};

/// Held by the process that makes a cache file. Closing lets it go, also when the process dies.
class CacheLock {
 public:
  explicit CacheLock(fs::path path) : path_(std::move(path)) {}

  ~CacheLock() {
    if (fd_ < 0) return;
    ::unlink(path_.c_str());
    ::close(fd_);
  }
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

  /// False where files can't be locked.
  bool wait(const std::string& data_file) {
    while (open()) {
      if (!hold(data_file)) break;
      if (is_still_there()) return true;
      // Whoever had it took it away. Others may hold a new one by now.
    }
    close();
    return false;
  }

 private:
  bool open() {
    close();
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    return fd_ >= 0;
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  bool hold(const std::string& data_file) const {
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK) return false;
    spdlog::info("{}: another process tokenizes it: waiting", data_file);
    int result;
    while ((result = ::flock(fd_, LOCK_EX)) != 0 && errno == EINTR) {
    }
    return result == 0;
  }
  bool is_still_there() const {
    struct stat own {};
    struct stat named {};
    return ::fstat(fd_, &own) == 0 && ::stat(path_.c_str(), &named) == 0 && own.st_ino == named.st_ino &&
           own.st_dev == named.st_dev;
  }

  fs::path path_;
  int fd_ = -1;
};

std::shared_ptr<const SampleStore> open_store(const fs::path& file, const std::string& key) {
  std::error_code missing;
  if (!fs::exists(file, missing)) return nullptr;
  try {
    auto store = std::make_shared<const SampleStore>(file);
    if (store->key() == key) return store;
  } catch (const std::exception& e) {
    spdlog::warn("{}; it is made again", e.what());
  }
  return nullptr;
}

/// Named so that who looks into the folder knows whose samples lie there.
fs::path cache_file(const fs::path& folder, const DatasetSpec& spec, const std::string& key) {
  constexpr size_t kMostLetters = 40;
  std::string name = fs::path(spec.file).stem().string().substr(0, kMostLetters);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c) && c != '-'; }, '_');
  return folder / fmt::format("{}-{}.samples", name, hex64(hash64(key)));
}

/// Which file lies at the path: equal as long as nobody has put another in its place. nullopt: none. (Times alone would
/// compare this machine's clock with that of the disk's server.)
std::optional<std::tuple<dev_t, ino_t, time_t, long>> file_there(const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return std::tuple(info.st_dev, info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

/// Records were named when they were left out; a later run only says how many there were.
void log_reuse(const DatasetSpec& spec, const fs::path& file, const SampleCounts& counts) {
  spdlog::info("{}: tokenized before, taken from {}", spec.file, file.string());
  if (counts.num_bad + counts.num_untrained == 0) return;
  spdlog::warn(
      "{}: {} bad records and {} without a trained token were left out then ---> overwrite_cache: true names "
      "them again",
      spec.file, counts.num_bad, counts.num_untrained);
}

}  // namespace

fs::path default_cache_folder() {
  if (const char* own = std::getenv("QTUNE_CACHE")) return own;
  if (const char* shared = std::getenv("XDG_CACHE_HOME"); shared && *shared) return fs::path(shared) / "qtune";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "qtune";
  return {};
}

std::string model_files_hash(const fs::path& model_folder) {
  std::string text;
  for (const char* name : kModelFiles) {
    std::error_code missing;
    if (!fs::is_regular_file(model_folder / name, missing)) continue;
    const std::string content = read_file(model_folder / name);
    text += fmt::format("{} {}\n", name, hex64(hash64(content)));
    if (content.find("strftime_now") == std::string::npos) continue;
    const std::time_t now = std::time(nullptr);
    text += fmt::format("{:%Y-%m-%d}\n", fmt::localtime(now));
  }
  return hex64(hash64(text));
}

std::string cache_key(const DatasetSpec& spec, const LoadSamplesOptions& options, const std::string& model_files) {
  nlohmann::json files = nlohmann::json::array();
  for (const std::string& name : data_files(spec)) {
    std::error_code error;
    const fs::path file = fs::canonical(name, error);
    if (error || !fs::is_regular_file(file)) return "";
    files.push_back({{"named", name},
                     {"path", file.string()},
                     {"bytes", fs::file_size(file)},
                     {"changed", fs::last_write_time(file).time_since_epoch().count()}});
  }
  const TokenizeOptions& t = options.tokenize;
  const nlohmann::json key = {{"version", kVersion},
                              {"files", files},
                              {"formatting", to_string(spec.formatting)},
                              {"columns", spec.columns},
                              {"tags", spec.tags},
                              {"read_unnamed", spec.unnamed == UnnamedParts::kRead},
                              {"num_samples", spec.num_samples},
                              {"exactly", spec.count == SampleCount::kExactly},
                              {"skip_bad", spec.on_bad_data == OnBadData::kSkip},
                              {"model_files", model_files},
                              {"template", options.template_name},
                              {"vocab_size", options.vocab_size},
                              {"cutoff_len", t.cutoff_len},
                              {"excess", static_cast<int>(t.excess)},
                              {"train_on_prompt", t.prompt == PromptTraining::kAll},
                              {"mask_history", t.history == HistoryTraining::kLastAnswer},
                              {"eos_ids", t.eos_ids},
                              {"keep_untrained", options.untrained == UntrainedSamples::kKeep}};
  return key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::shared_ptr<const SampleStore> open_or_make(const DatasetSpec& spec, const LoadSamplesOptions& options,
                                                const std::string& key, const MakeStore& make) {
  const fs::path& folder = options.cache_folder;
  if (folder.empty() || key.empty()) return make("");
  std::error_code error;
  fs::create_directories(folder, error);
  if (error || ::access(folder.c_str(), W_OK) != 0) {
    spdlog::warn("{}: can't be written to, so tokenized samples are not kept ---> set tokenized_path", folder.string());
    return make("");
  }
  const fs::path file = cache_file(folder, spec, key);
  const auto reuse = [&]() -> std::shared_ptr<const SampleStore> {
    auto store = open_store(file, key);
    if (store) log_reuse(spec, file, store->counts());
    return store;
  };
  if (options.cache_use == CacheUse::kRead) {
    if (auto store = reuse()) return store;
  }
  CacheLock lock(file.string() + ".lock");
  const auto before = file_there(file);
  const bool alone = lock.wait(spec.file);
  // What another rank made meanwhile is as fresh as what overwrite_cache asks for.
  if (options.cache_use == CacheUse::kRead || file_there(file) != before) {
    if (auto store = reuse()) return store;
  }
  if (alone) remove_leftovers(file);
  try {
    return make(file);
  } catch (const StoreWriteError& e) {
    spdlog::warn("{}; tokenized samples are not kept", e.what());
    return make("");
  }
}

}  // namespace qtune
