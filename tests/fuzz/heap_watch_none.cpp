// The twin of heap_watch_asan.cpp for builds without AddressSanitizer.
#include "fuzz/heap_watch.h"

namespace qtune::fuzz {

bool heap_is_watched() { return false; }
HeapWatch::HeapWatch() : live_at_start_(0) {}
uint64_t HeapWatch::peak_bytes() const { return static_cast<uint64_t>(live_at_start_); }

}  // namespace qtune::fuzz
