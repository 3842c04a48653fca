// Writing a model as a Hugging Face folder, which transformers and qtune load, or its adapter as PEFT does.
#pragma once

#include <filesystem>

#include "qtune/model/model.h"

namespace qtune {

/// Writes model.safetensors into `target` (which must exist) and carries over config.json (with the stored dtype),
/// generation_config.json, tokenizer and template files of `source`, the folder the model was loaded from.
/// Throws: CheckpointError naming the file and the reason (disk full, ...); each file is whole or not there.
void save_model(Model& model, const std::filesystem::path& source, const std::filesystem::path& target, Dtype dtype);

/// Writes the model's adapter alone, as PEFT loads it: adapter_model.safetensors (float32), adapter_config.json with
/// `source` as the base model, and the tokenizer and template files of `source`.
/// Throws: as save_model.
void save_adapter(Model& model, const std::filesystem::path& source, const std::filesystem::path& target);

/// What was trained: save_adapter with an adapter, else save_model.
void save_trained(Model& model, const std::filesystem::path& source, const std::filesystem::path& target, Dtype dtype);

}  // namespace qtune
