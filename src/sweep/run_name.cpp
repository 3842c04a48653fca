#include "run_name.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "qtune/base/error.h"

namespace qtune {
namespace {

std::string without_quotes(const std::string& text) {
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  return quoted ? text.substr(1, text.size() - 2) : text;
}

/// Of "models/LLaMA2-7B" the name of the folder.
std::string last_part(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return path;
  const size_t slash = path.rfind('/', end);
  return path.substr(slash + 1, end - slash);
}

}  // namespace

std::string default_run_name(const SweepChange& changes) {
  constexpr std::string_view kPruning = "pruning.";
  std::vector<std::string> parts;
  for (const ConfigEntry& change : changes) {
    const std::string key = change.key.starts_with(kPruning) ? change.key.substr(kPruning.size()) : change.key;
    std::vector<std::string> values;
    for (const std::string& value : change.values) values.push_back(last_part(value));
    parts.push_back(fmt::format("{}={}", key, values.empty() ? "null" : fmt::format("{}", fmt::join(values, "+"))));
  }
  return parts.empty() ? "base" : as_folder_name(fmt::format("{}", fmt::join(parts, ",")));
}

std::string filled_in(const std::string& pattern, const TrainConfig& config) {
  TrainConfig copy = config;
  const std::vector<ConfigKey> keys = config_keys(copy);
  std::string name;
  for (size_t at = 0; at < pattern.size();) {
    const size_t close = pattern[at] == '{' ? pattern.find('}', at) : std::string::npos;
    if (close == std::string::npos) {
      name += pattern[at++];
      continue;
    }
    const std::string word = pattern.substr(at + 1, close - at - 1);
    const auto key = std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& k) { return k.name == word; });
    if (key == keys.end()) {
      std::vector<std::string> names;
      for (const ConfigKey& k : keys) names.push_back(k.name);
      const std::string near = nearest_name(word, names);
      throw ConfigError(fmt::format("name: {{{}}} is no config key{}", word,
                                    near.empty() ? "" : fmt::format("; did you mean {{{}}}?", near)));
    }
    name += last_part(shown_setting(*key));
    at = close + 1;
  }
  return as_folder_name(name);
}

std::string shown_setting(const ConfigKey& key) { return without_quotes(format_value(key.field)); }

std::string as_folder_name(const std::string& text) {
  constexpr std::string_view kOthers = "._=,+-";
  std::string name;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += plain || kOthers.find(c) != std::string_view::npos ? c : '_';
  }
  if (name.starts_with('.') || name.starts_with('-')) name[0] = '_';
  return name;
}

}  // namespace qtune
