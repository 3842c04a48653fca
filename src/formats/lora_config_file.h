#pragma once

#include <filesystem>

#include "qtune/formats/lora_adapter.h"

namespace qtune {

/// PEFT's adapter_config.json. The targets are the last words of target_modules that exclude_modules does not name;
/// none where one of the two is a pattern.
/// Throws: CheckpointError naming the file and the key.
LoraConfig read_lora_config(const std::filesystem::path& path);

}  // namespace qtune
