// The tokenizer of a model folder as llama.cpp wants it. Internal to convert_hf_to_gguf.
#pragma once

#include <filesystem>

#include "gguf_write.h"
#include "qtune/formats/model_config.h"

namespace qtune {

/// Adds the tokenizer.* keys. Ids without a token up to the model's vocabulary are named [PADn].
/// Throws: CheckpointError naming the file and what llama.cpp has nothing for: a way of cutting text, more tokens than
/// the model has rows, and all that loading a tokenizer refuses.
void add_tokenizer_keys(GgufMetadata& metadata, const std::filesystem::path& folder, const ModelConfig& config);

}  // namespace qtune
