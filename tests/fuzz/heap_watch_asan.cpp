#include <algorithm>
#include <atomic>
#include <cstddef>

#include "fuzz/heap_watch.h"

// Of clang's sanitizer/allocator_interface.h: GCC has the functions in its library, but not that header.
extern "C" {
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                              void (*on_free)(const volatile void*));
size_t __sanitizer_get_allocated_size(const volatile void* block);
}

namespace qtune::fuzz {
namespace {

std::atomic<int64_t> live_bytes{0}, most_bytes{0};

void on_malloc(const volatile void*, size_t num_bytes) {
  const int64_t live = live_bytes.fetch_add(static_cast<int64_t>(num_bytes)) + static_cast<int64_t>(num_bytes);
  int64_t most = most_bytes.load();
  while (live > most && !most_bytes.compare_exchange_weak(most, live)) {
  }
}

void on_free(const volatile void* block) {
  if (block == nullptr) return;
  live_bytes.fetch_sub(static_cast<int64_t>(__sanitizer_get_allocated_size(block)));
}

}  // namespace

bool heap_is_watched() { return true; }

HeapWatch::HeapWatch() {
  // What was allocated before the hooks came makes live_bytes too small when it goes, so only differences count.
  static const bool installed = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) != 0;
  static_cast<void>(installed);
  live_at_start_ = live_bytes.load();
  most_bytes.store(live_at_start_);
}

uint64_t HeapWatch::peak_bytes() const {
  return static_cast<uint64_t>(std::max<int64_t>(0, most_bytes.load() - live_at_start_));
}

}  // namespace qtune::fuzz
