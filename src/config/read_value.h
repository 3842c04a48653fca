#pragma once

#include <string>

#include "qtune/config/config_key.h"
#include "qtune/config/yaml_entries.h"

namespace qtune {

/// Reads `entry` into the key's field. Returns "" when done, else what was expected ("a number above 0"); the field is
/// then as it was.
std::string read_value(const ConfigEntry& entry, const ConfigKey& key);

}  // namespace qtune
