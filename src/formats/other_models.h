// Models that qtune does not read as they are, for messages.
#pragma once

#include <filesystem>
#include <string>

namespace qtune {

/// What a folder that lacks safetensors or config.json holds instead, and what to do with it, as in "found
/// pytorch_model.bin ---> save it as ..": a LoRA adapter, a GGUF file, pickled weights. `otherwise` when none of them.
std::string found_instead(const std::filesystem::path& folder, const std::string& otherwise);

}  // namespace qtune
