// The row algorithm of token scores, shared by the CPU ops and the CUDA kernels: no torch, no CUDA API.
//
// State of one row of logits z over any part of the vocabulary: m = max z, sum = sum e^(z-m), wsum = sum (z-m) e^(z-m).
// States combine in any order; from the whole row's state
//   logsumexp = m + ln sum,   nll = logsumexp - z[target],   entropy = ln sum - wsum / sum   (nats).
// Both terms of the entropy are >= 0 (wsum <= 0), so nothing cancels and it is never negative.
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
QTUNE_HD float entropy(const RowState& a) { return logf(a.sum) - a.wsum / a.sum; }

}  // namespace qtune
