#include "qtune/base/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string>

namespace qtune {
namespace {

/// The number in the line of `path` that starts with `key` ("": the first line). nullopt: no file, line or number.
std::optional<int64_t> number_in(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t digits = line.find_first_of("0123456789");
    int64_t value = 0;
    if (digits == std::string::npos) return std::nullopt;  // cgroup's "max": no limit
    const auto parsed = std::from_chars(line.data() + digits, line.data() + line.size(), value);
    return parsed.ec == std::errc() ? std::optional(value) : std::nullopt;
  }
  return std::nullopt;
}

struct ContainerMemory {
  int64_t limit, used;  // used: without what only caches files
};

/// Version 2 of cgroups, then version 1. In a container its own group is mounted as the root.
std::optional<ContainerMemory> container_memory() {
  struct Files {
    const char *limit, *usage, *stat, *cache;
  };
  constexpr Files kVersions[] = {
      {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "file "},
      {"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
       "/sys/fs/cgroup/memory/memory.stat", "total_cache "}};
  for (const Files& files : kVersions) {
    const auto limit = number_in(files.limit, "");
    if (!limit) continue;
    const int64_t cached = number_in(files.stat, files.cache).value_or(0);
    return ContainerMemory{.limit = *limit, .used = number_in(files.usage, "").value_or(0) - cached};
  }
  return std::nullopt;
}

}  // namespace

int64_t peak_memory_bytes() {
  // VmHWM is this program's own; ru_maxrss also remembers the process that started it, before exec.
  if (const auto kibibytes = number_in("/proc/self/status", "VmHWM:")) return *kibibytes * 1024;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

int64_t total_memory_bytes() {
  const int64_t machine =
      static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
  const auto container = container_memory();
  return container ? std::min(machine, container->limit) : machine;
}

int64_t available_memory_bytes() {
  const auto kibibytes = number_in("/proc/meminfo", "MemAvailable:");
  const int64_t machine = kibibytes ? *kibibytes * 1024 : total_memory_bytes();
  const auto container = container_memory();
  return container ? std::clamp<int64_t>(container->limit - container->used, 0, machine) : machine;
}

}  // namespace qtune
