// JSON files that come with a model, from strangers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

namespace qtune {

inline constexpr size_t kMaxJsonFileDepth = 64;
/// A model's or an adapter's settings have a few KB.
inline constexpr uint64_t kMaxSettingsBytes = uint64_t{1} << 20;

/// A JSON file's text, not yet parsed. Throws: Error naming the path and the system's reason; CheckpointError when it
/// is longer than `max_bytes`, since parsed JSON takes many times its file's size, or when it nests lists and objects
/// more than kMaxJsonFileDepth deep, since copying, comparing and printing them recurses.
std::string read_json_text(const std::filesystem::path& path,
                           uint64_t max_bytes = std::numeric_limits<uint64_t>::max());

}  // namespace qtune
