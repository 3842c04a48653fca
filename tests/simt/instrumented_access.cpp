// What the compiler calls at each access to memory in code that is compiled with -fsanitize=thread. ThreadSanitizer's
// own runtime is not linked: it knows threads of the operating system, not those of a launch.
#include <cstddef>

#include "simt/block.h"
#include "simt/fiber.h"
#include "simt/global_memory.h"
#include "simt/shared_memory.h"

namespace {

void access(const void* address, size_t bytes, bool writes) {
  using namespace qtune::simt;
  // The host's own code, a thread's own variables, and shared memory, which is watched on its own.
  if (!in_kernel() || Fiber::owns(address) || shared_memory().holds(address)) return;
  global_memory().access(address, bytes, writes);
}

}  // namespace

#define QTUNE_ACCESS(bytes)                                                     \
  void __tsan_read##bytes(void* p) { access(p, bytes, false); }                 \
  void __tsan_write##bytes(void* p) { access(p, bytes, true); }                 \
  void __tsan_unaligned_read##bytes(const void* p) { access(p, bytes, false); } \
  void __tsan_unaligned_write##bytes(void* p) { access(p, bytes, true); }       \
  void __tsan_volatile_read##bytes(void* p) { access(p, bytes, false); }        \
  void __tsan_volatile_write##bytes(void* p) { access(p, bytes, true); }

extern "C" {
QTUNE_ACCESS(1)
QTUNE_ACCESS(2)
QTUNE_ACCESS(4)
QTUNE_ACCESS(8)
QTUNE_ACCESS(16)
void __tsan_read_range(void* p, size_t bytes) { access(p, bytes, false); }
void __tsan_write_range(void* p, size_t bytes) { access(p, bytes, true); }
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
// Reference counts of the tests' own host code.
int __tsan_atomic32_fetch_add(volatile int* p, int v, int order) { return __atomic_fetch_add(p, v, order); }
int __tsan_atomic32_fetch_sub(volatile int* p, int v, int order) { return __atomic_fetch_sub(p, v, order); }
}
