#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace qtune {

/// Writes indented JSON. Throws: CheckpointError naming `source` when a text taken from it is not valid UTF-8; Error.
void write_json_file(const std::filesystem::path& path, const nlohmann::ordered_json& json,
                     const std::filesystem::path& source);

}  // namespace qtune
