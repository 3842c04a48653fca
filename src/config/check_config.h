// Rules over several keys, and what this version does not have yet. Ranges and choices of single keys are checked where
// their values are read (read_value.h).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "qtune/config/load_config.h"

namespace qtune {

/// What is checked: the values, where each came from, and which keys hold no value because theirs was a fault.
struct CheckedConfig {
  const LoadedConfig& loaded;
  const std::set<std::string>& faulty_keys;
};

/// Faults of the whole, one line each. Rules about a faulty key are left out.
std::vector<std::string> check_config(const CheckedConfig& checked);

/// Options that are given but change nothing beside the others, and what else is worth knowing; one line each.
std::vector<std::string> config_notes(const LoadedConfig& loaded);

/// A key of which this version has only some values.
struct NotYetRule {
  std::string key;
  std::vector<std::string> available;  // as format_value writes them
  std::string instead;                 // what to do; may be empty
};

/// Delete a line, or add a value to it, when the feature is there.
const std::vector<NotYetRule>& not_yet_available();

/// The rule for a key; nullptr where this version has all of it.
const NotYetRule* find_not_yet(const std::string& key);

}  // namespace qtune
