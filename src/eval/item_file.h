// A task's answers on disk, a JSON line an item, and what a resumed evaluation finds there.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "qtune/metrics/line_log.h"

namespace qtune {

/// `folder`/<task>.jsonl, with the settings it was made with in `folder`/<task>.settings.json.
class ItemFile {
 public:
  /// Reads what is there; a torn last line is dropped, an item without a metric is to be asked again.
  /// Throws: ConfigError naming the first setting that differs from `settings`; DataError naming a line that is broken.
  ItemFile(const std::filesystem::path& folder, const std::string& task, const nlohmann::ordered_json& settings);

  bool has(size_t item) const { return metrics_.contains(item); }
  /// Appends; it is in the file on return. `line` has "doc_id" and "metrics".
  void add(const nlohmann::ordered_json& line);

  /// "metrics" of each item, by its number.
  const std::map<size_t, nlohmann::ordered_json>& metrics() const { return metrics_; }

 private:
  /// Bytes of whole lines.
  int64_t read_lines();

  std::filesystem::path path_;
  std::map<size_t, nlohmann::ordered_json> metrics_;
  std::unique_ptr<LineLog> log_;
};

}  // namespace qtune
