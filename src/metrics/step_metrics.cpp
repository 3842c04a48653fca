#include "qtune/metrics/step_metrics.h"

#include <sys/resource.h>

#include <charconv>
#include <fstream>
#include <numeric>
#include <string>

namespace qtune {

int64_t QuadrantCounts::total() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

QuadrantCounts count_kept(const PruneDecision& decision) {
  QuadrantCounts counts;
  for (const SampleDecision& sample : decision.samples) counts[sample.quadrant] += sample.kept ? 1 : 0;
  return counts;
}

int64_t peak_memory_bytes() {
  // VmHWM is this program's own; ru_maxrss also remembers the process that started it, before exec.
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) != 0) continue;
    const size_t digits = line.find_first_of("0123456789");
    int64_t kibibytes = 0;
    if (digits != std::string::npos) std::from_chars(line.data() + digits, line.data() + line.size(), kibibytes);
    return kibibytes * 1024;
  }
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace qtune
