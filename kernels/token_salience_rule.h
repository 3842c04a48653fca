// The arithmetic of Q-Tuning's token pruning, shared by the kernels and whoever wants the same numbers on the host: no
// CUDA API. Each operation is rounded by itself (no fused multiply-add), as src/prune computes it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/host_device.h"

namespace qtune {

QTUNE_HD double rounded_product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

/// exp(nll), the exponent capped at 80. NaN stays NaN.
QTUNE_HD double token_perplexity(double nll) { return exp(80.0 < nll ? 80.0 : nll); }

/// (1 - lambda) own + lambda (left + right); `halved`: lambda (left + right) / 2.
QTUNE_HD double salience_of(double own, double left, double right, double lambda, bool halved) {
  const double both = left + right;
  return rounded_product(1 - lambda, own) + rounded_product(lambda, halved ? both / 2 : both);
}

/// max(1, ceil(fraction * num_tokens - 1e-9)), at most num_tokens; 0 of 0.
QTUNE_HD int64_t kept_token_count(double fraction, int64_t num_tokens) {
  const auto wanted = static_cast<int64_t>(ceil(rounded_product(fraction, static_cast<double>(num_tokens)) - 1e-9));
  const int64_t at_least_one = wanted < 1 ? 1 : wanted;
  return at_least_one < num_tokens ? at_least_one : num_tokens;
}

/// A number whose unsigned order is the order of x; `reverse`: the opposite order.
QTUNE_HD uint64_t sort_key(double x, bool reverse) {
  const double value = (reverse ? -x : x) + 0.0;  // -0 becomes 0: they are equal
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(bits));
  const uint64_t sign = uint64_t{1} << 63;
  return (bits & sign) != 0 ? ~bits : bits | sign;
}

}  // namespace qtune
