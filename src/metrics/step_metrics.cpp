#include "qtune/metrics/step_metrics.h"

#include <numeric>

namespace qtune {

int64_t QuadrantCounts::total() const { return std::accumulate(counts_.begin(), counts_.end(), int64_t{0}); }

QuadrantCounts count_kept(const PruneDecision& decision) {
  QuadrantCounts counts;
  for (const SampleDecision& sample : decision.samples) counts[sample.quadrant] += sample.kept ? 1 : 0;
  return counts;
}

}  // namespace qtune
