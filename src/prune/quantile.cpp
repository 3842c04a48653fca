#include "qtune/prune/quantile.h"

#include <algorithm>
#include <cmath>

#include "qtune/base/error.h"

namespace qtune {

double quantile(std::span<const double> ascending, double fraction) {
  if (ascending.empty()) throw Error("quantile: expected at least one value, found none");
  const double rank = std::ceil(fraction * static_cast<double>(ascending.size()) - 1e-9);
  const double last = static_cast<double>(ascending.size() - 1);
  return ascending[static_cast<size_t>(std::clamp(rank - 1, 0.0, last))];
}

}  // namespace qtune
