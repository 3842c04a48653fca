#include "qtune/base/hash.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include "qtune/base/file.h"

namespace qtune {

uint64_t hash64(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t hash_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return XXH3_64bits(file.bytes().data(), file.bytes().size());
}

std::string hex64(uint64_t value) { return fmt::format("{:016x}", value); }

}  // namespace qtune
