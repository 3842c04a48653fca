#include "qtune/ops/linear_cross_entropy.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "checks.h"
#include "kernels/token_score_row.h"
#include "qtune/ops/device_ops.h"
#include "qtune/ops/linear.h"
#include "vector_math.h"

namespace qtune {
namespace {

/// Rows of logits that exist at a time, in bytes: large enough for matrix products at full speed, far below (N, V).
constexpr int64_t kChunkBytes = 48 << 20;

/// The row algorithm of token_score_row.h, one vector sweep for the maximum and one for both sums.
template <class T>
RowState score_row(const T* logits, int64_t v) {
  RowState state;
  float top = -INFINITY;
#pragma omp simd reduction(max : top)
  for (int64_t j = 0; j < v; ++j) top = std::max(top, to_float(logits[j]));
  float sum = 0, wsum = 0;
#pragma omp simd reduction(+ : sum, wsum)
  for (int64_t j = 0; j < v; ++j) {
    const float x = to_float(logits[j]);
    const float d = x - top, e = fast_exp(d);
    sum += e;
    wsum += x == -INFINITY ? 0.0f : d * e;  // 0 * -inf would be NaN
  }
  state.max = top;
  state.sum = sum;
  state.wsum = wsum;
  return state;
}

/// z -> weight * (softmax(z) - onehot(target)), the gradient of weight * nll, in place.
template <class T>
void turn_into_gradient(T* logits, int64_t v, float row_logsumexp, int32_t target, float weight) {
#pragma omp simd
  for (int64_t j = 0; j < v; ++j) logits[j] = from_float<T>(weight * fast_exp(to_float(logits[j]) - row_logsumexp));
  logits[target] = from_float<T>(to_float(logits[target]) - weight);
}

void check_targets(const at::Tensor& targets_N, int64_t v) {
  const int32_t* targets = targets_N.data_ptr<int32_t>();
  for (int64_t i = 0; i < targets_N.size(0); ++i) {
    if (targets[i] < 0 || targets[i] >= v) {
      throw Error(
          fmt::format("linear_cross_entropy: target {} of row {} is outside the vocabulary of {}", targets[i], i, v));
    }
  }
}

RowScores run(const at::Tensor& hidden_ND, const at::Tensor& head_VD, const at::Tensor& targets_N,
              const at::Tensor& dhidden_ND, const at::Tensor& dhead_VD, const at::Tensor& weights_N) {
  const int64_t n = hidden_ND.size(0), d = hidden_ND.size(1), v = head_VD.size(0);
  const bool with_gradients = dhidden_ND.defined();
  check_shape("linear_cross_entropy", "hidden", hidden_ND, {n, d});
  check_shape("linear_cross_entropy", "head", head_VD, {v, d});
  check_shape("linear_cross_entropy", "targets", targets_N, {n});
  check_dtype("linear_cross_entropy", "targets", targets_N, at::kInt);
  if (const DeviceOps* device = device_ops(hidden_ND)) {
    if (!with_gradients) return device->linear_cross_entropy(hidden_ND, head_VD, targets_N);
    return device->linear_cross_entropy_backward(hidden_ND, head_VD, targets_N, dhidden_ND, dhead_VD, weights_N);
  }
  check_targets(targets_N, v);
  RowScores scores{at::empty({n}, at::kFloat), at::empty({n}, at::kFloat), at::empty({n}, at::kFloat)};
  if (n == 0) return scores;

  const int64_t chunk = std::clamp<int64_t>(kChunkBytes / (v * hidden_ND.element_size()), 1, n);
  const at::Tensor logits_buffer = at::empty({chunk, v}, hidden_ND.options());
  at::Tensor scratch_VD;
  if (dhead_VD.defined() && hidden_ND.scalar_type() != at::kFloat) scratch_VD = at::empty({v, d}, hidden_ND.options());
  const int32_t* targets = targets_N.data_ptr<int32_t>();
  const float* weights = weights_N.defined() ? weights_N.data_ptr<float>() : nullptr;
  float* nll = scores.nll_N.data_ptr<float>();
  float* entropies = scores.entropy_N.data_ptr<float>();
  float* logsumexps = scores.logsumexp_N.data_ptr<float>();

  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t rows = std::min(chunk, n - first);
    const at::Tensor logits_NV = logits_buffer.narrow(0, 0, rows), hidden = hidden_ND.narrow(0, first, rows);
    linear(hidden, head_VD, logits_NV);
    dispatch_compute_dtype("linear_cross_entropy", logits_NV, [&](auto element) {
      using T = decltype(element);
      T* logits = logits_NV.data_ptr<T>();
      at::parallel_for(0, rows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T* row = logits + i * v;
          const RowState state = score_row(row, v);
          const int32_t target = targets[first + i];
          const float lse = logsumexp(state);
          nll[first + i] = qtune::nll(state, to_float(row[target]));
          entropies[first + i] = entropy(state);
          logsumexps[first + i] = lse;
          if (with_gradients) turn_into_gradient(row, v, lse, target, weights == nullptr ? 1 : weights[first + i]);
        }
      });
    });
    if (!with_gradients) continue;
    linear_input_gradient(logits_NV, head_VD, dhidden_ND.narrow(0, first, rows));
    if (dhead_VD.defined()) linear_weight_gradient(logits_NV, hidden, dhead_VD, scratch_VD);
  }
  return scores;
}

}  // namespace

RowScores linear_cross_entropy(const at::Tensor& hidden_ND, const at::Tensor& head_VD, const at::Tensor& targets_N) {
  return run(hidden_ND, head_VD, targets_N, {}, {}, {});
}

RowScores linear_cross_entropy_backward(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                        const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                        const at::Tensor& dhead_VD, const at::Tensor& weights_N) {
  check_shape("linear_cross_entropy_backward", "dhidden", dhidden_ND, hidden_ND.sizes());
  if (dhead_VD.defined()) {
    check_shape("linear_cross_entropy_backward", "dhead", dhead_VD, head_VD.sizes());
    check_dtype("linear_cross_entropy_backward", "dhead", dhead_VD, at::kFloat);
  }
  if (weights_N.defined()) {
    check_shape("linear_cross_entropy_backward", "weights", weights_N, {targets_N.size(0)});
    check_dtype("linear_cross_entropy_backward", "weights", weights_N, at::kFloat);
  }
  return run(hidden_ND, head_VD, targets_N, dhidden_ND, dhead_VD, weights_N);
}

}  // namespace qtune
