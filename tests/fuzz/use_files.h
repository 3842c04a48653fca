// Reads all that a file says holds.
#pragma once

#include <filesystem>

namespace qtune::fuzz {

/// Every tensor's values. Throws: qtune::Error when the file is refused.
void use_safetensors(const std::filesystem::path& path);

/// Every tensor's rows, de-quantised a few at a time, and the lists of texts. Throws: qtune::Error when it is refused.
void use_gguf(const std::filesystem::path& path);

/// The weights of a model folder, in one file or in shards. Throws: qtune::Error when they are refused.
void use_weights(const std::filesystem::path& folder);

}  // namespace qtune::fuzz
