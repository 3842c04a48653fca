#include "qtune/ops/process_memory.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace qtune {

void limit_library_memory() {
  // A training step has about 20 different products, each used again in every layer.
  constexpr const char* kCapacity = "64";
  constexpr int kKeepUser = 0;
  ::setenv("LRU_CACHE_CAPACITY", kCapacity, kKeepUser);
  ::setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", kCapacity, kKeepUser);
#ifdef __GLIBC__
  // Larger blocks come from the system and go back to it; malloc would raise this by itself, up to 32 MiB.
  if (std::getenv("MALLOC_MMAP_THRESHOLD_") == nullptr) ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
#endif
}

}  // namespace qtune
