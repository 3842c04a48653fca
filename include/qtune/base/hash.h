// Checksums and cache keys (XXH3, 64 bits): they find torn files and changed inputs, not forged ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace qtune {

uint64_t hash64(std::string_view bytes);

/// Hash of a whole file, which is mapped into memory. Throws: Error naming the path.
uint64_t hash_file(const std::filesystem::path& path);

/// 16 lower-case hexadecimal digits.
std::string hex64(uint64_t value);

}  // namespace qtune
