#include "qtune/optim/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <utility>

namespace qtune {

Optimizer::Optimizer(Model& model, const AdamWOptions& options) : options_(options) {
  std::vector<AdamWTensor> tensors;
  for (const Parameter& p : model.parameters()) {
    state_.push_back({p.name, at::zeros_like(p.master), at::zeros_like(p.master)});
    const bool rewrite = p.compute.scalar_type() == at::kBFloat16;
    tensors.push_back({.value = p.master,
                       .gradient = p.gradient,
                       .exp_avg = state_.back().exp_avg,
                       .exp_avg_sq = state_.back().exp_avg_sq,
                       .compute = rewrite ? p.compute : at::Tensor(),
                       .weight_decay = p.master.dim() >= 2 ? options_.weight_decay : 0.0});
  }
  adamw_ = make_adamw(std::move(tensors));
}

void Optimizer::update(double learning_rate, double gradient_scale, double max_norm, const at::Tensor& nll_N) {
  adamw_->update({.learning_rate = learning_rate,
                  .beta1 = options_.beta1,
                  .beta2 = options_.beta2,
                  .epsilon = options_.epsilon,
                  .gradient_scale = gradient_scale,
                  .step = num_updates_ + 1},
                 max_norm, nll_N);
}

double Optimizer::finish_update() {
  const double norm = adamw_->norm();
  if (std::isfinite(norm)) ++num_updates_;
  return norm;
}

}  // namespace qtune
