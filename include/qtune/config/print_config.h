// A configuration written out: for eyes, for a run's folder, for the docs page.
#pragma once

#include <string>
#include <vector>

#include "qtune/config/load_config.h"

namespace qtune {

/// Every key with its value, as YAML that load_train_config reads back to the same values.
std::string to_yaml(const TrainConfig& config);

/// The same with each value's origin as a comment.
std::string to_yaml_with_origins(const LoadedConfig& loaded);

/// Plain text: every key with type, default and meaning.
std::string config_key_list();

/// docs/config.md.
std::string config_markdown();

/// Names of the keys that change the trained weights and differ between both.
std::vector<std::string> differing_training_keys(const TrainConfig& a, const TrainConfig& b);

}  // namespace qtune
