// A folder that appears whole or not at all.
#pragma once

#include <filesystem>
#include <functional>

namespace qtune {

/// Calls `write` with a new folder beside the target, to write files into, and renames it to the target. An exception
/// removes it; an error in one of its files is told as one of the target's. What killed processes left is removed.
/// Empty and ties: a target that does not exist, or is an empty folder, is fine; its parents are made.
/// Throws: ConfigError when the target is a file or holds anything, Error when the folder can't be made or renamed.
void write_output_folder(const std::filesystem::path& target,
                         const std::function<void(const std::filesystem::path& folder)>& write);

}  // namespace qtune
