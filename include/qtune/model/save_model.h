// Writing a model as a Hugging Face folder, which transformers and qtune load.
#pragma once

#include <filesystem>

#include "qtune/model/model.h"

namespace qtune {

/// Writes model.safetensors into `target` (which must exist) and carries over config.json (with the stored dtype),
/// generation_config.json, tokenizer and template files of `source`, the folder the model was loaded from.
/// Throws: CheckpointError naming the file and the reason (disk full, ...); each file is whole or not there.
void save_model(Model& model, const std::filesystem::path& source, const std::filesystem::path& target, Dtype dtype);

}  // namespace qtune
