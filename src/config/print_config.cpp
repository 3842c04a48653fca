#include "qtune/config/print_config.h"

#include <fmt/format.h>

#include <functional>

#include "check_config.h"

namespace qtune {
namespace {

std::vector<std::string> sections_of(const std::string& name) {
  std::vector<std::string> sections;
  for (size_t start = 0, dot; (dot = name.find('.', start)) != std::string::npos; start = dot + 1) {
    sections.push_back(name.substr(start, dot - start));
  }
  return sections;
}

// Keys as nested YAML; `comment` gives what stands behind a key's value.
std::string nested_yaml(std::vector<ConfigKey> keys, const std::function<std::string(const ConfigKey&)>& comment) {
  std::string yaml, group;
  std::vector<std::string> open;
  for (const ConfigKey& key : keys) {
    if (key.group != group) {
      yaml += fmt::format("{}### {}\n", group.empty() ? "" : "\n", key.group);
      group = key.group;
    }
    const std::vector<std::string> sections = sections_of(key.name);
    size_t shared = 0;
    while (shared < open.size() && shared < sections.size() && open[shared] == sections[shared]) ++shared;
    for (size_t depth = shared; depth < sections.size(); ++depth) {
      yaml += fmt::format("{:{}}{}:\n", "", 2 * depth, sections[depth]);
    }
    open = sections;
    const std::string last_word = key.name.substr(key.name.rfind('.') + 1);
    yaml += fmt::format("{:{}}{}: {}{}\n", "", 2 * sections.size(), last_word, format_value(key.field), comment(key));
  }
  return yaml;
}

}  // namespace

std::string to_yaml(const TrainConfig& config) {
  TrainConfig copy = config;
  return nested_yaml(config_keys(copy), [](const ConfigKey&) { return ""; });
}

std::string to_yaml_with_origins(const LoadedConfig& loaded) {
  TrainConfig copy = loaded.config;
  return nested_yaml(config_keys(copy), [&](const ConfigKey& key) {
    const auto origin = loaded.origins.find(key.name);
    return origin == loaded.origins.end() ? "" : "  # " + origin->second;
  });
}

std::string config_key_list() {
  TrainConfig defaults;
  std::string text, group;
  for (const ConfigKey& key : config_keys(defaults)) {
    if (key.group != group) text += fmt::format("{}{}\n", group.empty() ? "" : "\n", key.group);
    group = key.group;
    const std::string limits = describe(key.allowed);
    const NotYetRule* rule = find_not_yet(key.name);
    text += fmt::format("  {}: {}  # {}{}{}\n      {}\n", key.name, format_value(key.field), type_name(key.field),
                        limits.empty() ? "" : ", " + limits,
                        rule == nullptr ? "" : fmt::format("; this version: only {}", fmt::join(rule->available, ", ")),
                        key.meaning);
  }
  return text;
}

std::vector<std::string> differing_training_keys(const TrainConfig& a, const TrainConfig& b) {
  TrainConfig copy_a = a, copy_b = b;
  const std::vector<ConfigKey> keys_a = config_keys(copy_a), keys_b = config_keys(copy_b);
  std::vector<std::string> differing;
  for (size_t i = 0; i < keys_a.size(); ++i) {
    const bool same = format_value(keys_a[i].field) == format_value(keys_b[i].field);
    if (!same && keys_a[i].effect == KeyEffect::kTraining) differing.push_back(keys_a[i].name);
  }
  return differing;
}

}  // namespace qtune
