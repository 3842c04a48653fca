// What this process and this machine have of memory.
#pragma once

#include <cstdint>

namespace qtune {

/// Largest resident memory this process has had, in bytes; 0 where the system does not tell.
int64_t peak_memory_bytes();

/// Memory of this machine, or of the container (cgroup) that the process runs in, if that is less.
int64_t total_memory_bytes();

/// What of it could be had now without swapping; memory that only caches files counts as free.
int64_t available_memory_bytes();

}  // namespace qtune
