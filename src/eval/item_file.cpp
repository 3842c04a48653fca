#include "item_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

void check_same_settings(const fs::path& file, const Json& found, const Json& expected) {
  for (const auto& [key, value] : expected.items()) {
    if (found.is_object() && found.contains(key) && found[key] == value) continue;
    const std::string there = found.is_object() && found.contains(key) ? found[key].dump() : "nothing";
    throw ConfigError(
        fmt::format("{}: expected the settings of this evaluation, found {} {} instead of {} ---> name another --out, "
                    "or remove this "
                    "folder",
                    file.string(), key, there, value.dump()));
  }
}

bool are_numbers(const Json& metrics) {
  return std::all_of(metrics.begin(), metrics.end(), [](const Json& value) { return value.is_number(); });
}

}  // namespace

ItemFile::ItemFile(const fs::path& folder, const std::string& task, const Json& settings)
    : path_(folder / (task + ".jsonl")) {
  const fs::path settings_file = folder / (task + ".settings.json");
  if (fs::exists(settings_file)) {
    check_same_settings(settings_file, Json::parse(read_file(settings_file), nullptr, false), settings);
  } else if (fs::exists(path_)) {
    throw ConfigError(fmt::format("{}: expected {} beside it, found none ---> name another --out", path_.string(),
                                  settings_file.filename().string()));
  } else {
    fs::create_directories(folder);
    write_file_atomic(settings_file, settings.dump(2) + "\n");
  }
  log_ = std::make_unique<LineLog>(path_, LogPosition{.bytes = read_lines()});
}

int64_t ItemFile::read_lines() {
  if (!fs::exists(path_)) return 0;
  const std::string text = read_file(path_);
  size_t begin = 0;
  for (int64_t number = 1;; ++number) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;
    const Json line = Json::parse(text.begin() + static_cast<int64_t>(begin), text.begin() + static_cast<int64_t>(end),
                                  nullptr, false);
    if (!line.is_object() || !line.contains("metrics") || !line["metrics"].is_object() || !line.contains("doc_id") ||
        !line["doc_id"].is_number_unsigned() || !are_numbers(line["metrics"])) {
      throw DataError(
          fmt::format("{}:{}: expected an item of an evaluation, found something else ---> name another --out",
                      path_.string(), number));
    }
    if (!line["metrics"].empty()) metrics_[line["doc_id"]] = line["metrics"];  // without any: asked again
    begin = end + 1;
  }
  return static_cast<int64_t>(begin);
}

void ItemFile::add(const Json& line) {
  log_->write(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  metrics_[line["doc_id"]] = line["metrics"];
}

}  // namespace qtune
