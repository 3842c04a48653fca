// The order statistic that all thresholds of the selection are made of.
#pragma once

#include <span>

namespace qtune {

/// Smallest value q of the set such that at least `fraction` of the values are at or below q.
/// Paper: Quantile_g(X), section 3. No interpolation: the result is always one of the values.
/// `ascending` is sorted; fraction in [0, 1], 0 gives the smallest value. Ranks are rounded up after taking 1e-9 off,
/// so that a product like 0.1 * 30 = 3.0000000000000004 means rank 3. Throws: Error when the set is empty.
double quantile(std::span<const double> ascending, double fraction);

}  // namespace qtune
