#pragma once

#include <filesystem>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {

/// Maps a model's file. Throws: CheckpointError, so that a model that can't be opened has its exit code.
inline MappedFile map_checkpoint_file(const std::filesystem::path& path) try {
  return MappedFile(path);
} catch (const Error& error) {
  throw CheckpointError(error.what());
}

}  // namespace qtune
