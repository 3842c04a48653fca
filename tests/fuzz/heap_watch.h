#pragma once

#include <cstdint>

namespace qtune::fuzz {

/// Whether this build can count allocations (AddressSanitizer's hooks do it).
bool heap_is_watched();

/// Counts the heap of the whole process while it lives; one at a time. Maps of files are no heap.
class HeapWatch {
 public:
  HeapWatch();
  /// Most bytes that were allocated at once, above what was when the watch began. 0 where the heap is not watched.
  uint64_t peak_bytes() const;

 private:
  int64_t live_at_start_;
};

}  // namespace qtune::fuzz
