// The general.* keys. Internal to convert_hf_to_gguf.
#pragma once

#include <filesystem>

#include "gguf_write.h"

namespace qtune {

/// Type, advised sampling (generation_config.json), names, sizes and what the model card (README.md) says of license,
/// tags, languages, base models and data sets.
/// Throws: Error where a file can't be read. A card or config that is malformed adds nothing.
void add_general_keys(GgufMetadata& metadata, const std::filesystem::path& folder, int64_t num_values);

}  // namespace qtune
