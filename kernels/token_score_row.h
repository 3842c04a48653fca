// The row algorithm of token scores, shared by the CPU ops and the CUDA kernels: no torch, no CUDA API.
//
// State of one row of logits z over any part of the vocabulary: m = max z, sum = sum e^(z-m), wsum = sum (z-m) e^(z-m).
// States combine in any order; from the whole row's state
//   logsumexp = m + ln sum,   nll = m - z[target] + ln sum,   entropy = ln sum - wsum / sum   (nats).
// nll is not taken from logsumexp, which carries a rounding error of 5e-4 where logits lie around 1e4. Both terms of
// the entropy are >= 0 (wsum <= 0), so nothing cancels and it is never negative.
#pragma once

#include <cmath>

#include "kernels/host_device.h"

namespace qtune {

struct RowState {
  float max = -INFINITY, sum = 0.0f, wsum = 0.0f;
};

/// Moves the reference point of a state to m >= a.max.
QTUNE_HD void move_max(RowState& a, float m) {
  if (a.sum == 0.0f || a.max == m) {
    a.max = m;
    return;
  }
  const float d = a.max - m, e = expf(d);
  a.wsum = e * (a.wsum + d * a.sum);
  a.sum *= e;
  a.max = m;
}

/// Adds one logit. -inf (a masked word) adds nothing; NaN makes the state NaN.
QTUNE_HD void update(RowState& a, float x) {
  if (x == -INFINITY) return;
  if (x > a.max) move_max(a, x);
  const float d = x - a.max, e = expf(d);
  a.sum += e;
  a.wsum += d * e;
}

/// Adds W logits at once: one move of the maximum, then W independent exponentials.
template <int W>
QTUNE_HD void update_all(RowState& a, const float (&x)[W]) {
  float top = x[0];
  for (int k = 1; k < W; ++k) top = fmaxf(top, x[k]);
  if (top > a.max) move_max(a, top);
  for (int k = 0; k < W; ++k) {
    // Not left out altogether where all are -inf: a NaN among them, which fmaxf passes over, has to count.
    const bool masked = x[k] == -INFINITY;
    const float d = masked ? 0.0f : x[k] - a.max, e = masked ? 0.0f : expf(d);
    a.sum += e;
    a.wsum += d * e;
  }
}

QTUNE_HD RowState combine(RowState a, RowState b) {
  if (a.sum == 0.0f) return b;
  if (b.sum == 0.0f) return a;
  const float m = fmaxf(a.max, b.max);
  move_max(a, m);
  move_max(b, m);
  a.sum += b.sum;
  a.wsum += b.wsum;
  return a;
}

QTUNE_HD float logsumexp(const RowState& a) { return a.max + logf(a.sum); }
QTUNE_HD float nll(const RowState& a, float target_logit) { return a.max - target_logit + logf(a.sum); }
QTUNE_HD float entropy(const RowState& a) { return logf(a.sum) - a.wsum / a.sum; }

}  // namespace qtune
