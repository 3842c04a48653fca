// What runs are called: a pattern filled in, or their own values strung together.
#pragma once

#include <string>
#include <vector>

#include "qtune/config/train_config.h"
#include "sweep_file.h"

namespace qtune {

/// "sample.method=random,token.method=ppl,seed=1": the changes in their order; "base" without any. It does not depend
/// on the other runs, so that a run keeps its name when the file gets more of them.
std::string default_run_name(const SweepChange& changes);

/// `pattern` with each "{key}" replaced by the config's value. Throws: ConfigError naming a key that does not exist.
std::string filled_in(const std::string& pattern, const TrainConfig& config);

/// The value of a key as names and tables show it: no quotes.
std::string shown_setting(const ConfigKey& key);

/// Fit for a folder: what is none of A-Z a-z 0-9 . _ = , + - becomes "_", a path its last part.
std::string as_folder_name(const std::string& text);

}  // namespace qtune
