// The checkpoint's own chat_template, as a renderer.
#pragma once

#include <filesystem>
#include <memory>

#include "chat_renderer.h"

namespace qtune {

/// Null when the checkpoint has none. Throws: ConfigError for what the template uses and qtune does not know;
/// CheckpointError for malformed files.
std::shared_ptr<const ChatRenderer> make_own_renderer(const std::filesystem::path& folder);

}  // namespace qtune
