// Names of checkpoints and of what lies in them.
#pragma once

#include <filesystem>

namespace qtune {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kStateFile = "trainer_state.json";

/// So that a checkpoint can be renamed to `target`: one of qtune's is removed. A folder that is not ours keeps its
/// content, under another name.
void make_room_for_checkpoint(const std::filesystem::path& target);

}  // namespace qtune
