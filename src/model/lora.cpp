// Linear layers with adapters: y = x W^T + u B^T with u = scale * dropout(x) A^T. u is made again in the backward.
#include <ATen/ops/mm.h>

#include "model_state.h"

namespace qtune {

/// u of all modules side by side, (N, modules * rank).
at::Tensor Model::State::lora_inner(const LoraWeights& lora, const at::Tensor& x) {
  const int64_t n = x.size(0), rank = weights.lora->rank;
  const at::Tensor u = buffer("lora_u", {n, lora.a.compute.size(0)});
  if (!drops) {
    linear(x, lora.a.compute, u);
  } else {
    const at::Tensor dropped = buffer("lora_dropped", x.sizes());
    for (size_t k = 0; k < lora.modules.size(); ++k) {
      dropout(x, weights.lora->dropout, *dropout_of(lora.modules[k].dropout_stream), dropped);
      at::Tensor part = u.narrow(1, static_cast<int64_t>(k) * rank, rank);
      at::mm_out(part, dropped, lora.modules[k].a.compute.t());
    }
  }
  at::Tensor scaled = u;
  return scaled.mul_(weights.lora->scale());
}

void Model::State::project(const LinearWeights& w, const at::Tensor& x, const at::Tensor& y) {
  if (on_fp8) {
    linear_fp8(x, w.fp8, y);
  } else {
    linear(x, w.compute, y);
  }
  if (w.lora.modules.empty()) return;
  const int64_t rank = weights.lora->rank;
  const at::Tensor u = lora_inner(w.lora, x);
  for (size_t k = 0; k < w.lora.modules.size(); ++k) {
    const LoraWeights::Module& m = w.lora.modules[k];
    linear_accumulate(u.narrow(1, static_cast<int64_t>(k) * rank, rank), m.b.compute, y.narrow(1, m.first_row, m.rows));
  }
}

at::Tensor Model::State::project_inner_gradient(const LinearWeights& w, const at::Tensor& dy) {
  if (w.lora.modules.empty()) return {};
  const int64_t rank = weights.lora->rank;
  at::Tensor du = buffer("lora_du", {dy.size(0), w.lora.a.compute.size(0)});
  for (size_t k = 0; k < w.lora.modules.size(); ++k) {
    const LoraWeights::Module& m = w.lora.modules[k];
    at::Tensor part = du.narrow(1, static_cast<int64_t>(k) * rank, rank);
    at::mm_out(part, dy.narrow(1, m.first_row, m.rows), m.b.compute);
  }
  return du.mul_(weights.lora->scale());
}

void Model::State::project_input_gradient(const LinearWeights& w, const at::Tensor& dy, const at::Tensor& du,
                                          const at::Tensor& dx) {
  linear_input_gradient(dy, w.compute, dx);
  if (w.lora.modules.empty()) return;
  if (!drops) {
    linear_accumulate(du, w.lora.a.compute.t(), dx);
    return;
  }
  const int64_t rank = weights.lora->rank;
  at::Tensor added = buffer("lora_dropped", dx.sizes()), sum = dx;
  for (size_t k = 0; k < w.lora.modules.size(); ++k) {
    const LoraWeights::Module& m = w.lora.modules[k];
    at::mm_out(added, du.narrow(1, static_cast<int64_t>(k) * rank, rank), m.a.compute);
    dropout(added, weights.lora->dropout, *dropout_of(m.dropout_stream), added);
    sum.add_(added);
  }
}

void Model::State::project_weight_gradient(const LinearWeights& w, const at::Tensor& dy, const at::Tensor& x,
                                           const at::Tensor& du) {
  if (w.gradient.defined()) weight_gradient(w, dy, x);
  if (w.lora.modules.empty()) return;
  const int64_t rank = weights.lora->rank;
  const at::Tensor u = lora_inner(w.lora, x);
  if (!drops) weight_gradient(w.lora.a, du, x);
  for (size_t k = 0; k < w.lora.modules.size(); ++k) {
    const LoraWeights::Module& m = w.lora.modules[k];
    const int64_t first = static_cast<int64_t>(k) * rank;
    weight_gradient(m.b, dy.narrow(1, m.first_row, m.rows), u.narrow(1, first, rank));
    if (!drops) continue;
    const at::Tensor dropped = buffer("lora_dropped", x.sizes());
    dropout(x, weights.lora->dropout, *dropout_of(m.dropout_stream), dropped);
    weight_gradient(m.a, du.narrow(1, first, rank), dropped);
  }
}

}  // namespace qtune
