#include "qtune/optim/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "qtune/ops/adamw.h"

namespace qtune {

Optimizer::Optimizer(Model& model, const AdamWOptions& options) : model_(model), options_(options) {
  for (const Parameter& p : model.parameters()) {
    state_.push_back({p.name, at::zeros_like(p.master), at::zeros_like(p.master)});
  }
}

double Optimizer::gradient_norm() const {
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : model_.parameters()) gradients.push_back(p.gradient);
  return global_norm(gradients);
}

void Optimizer::update(double learning_rate, double gradient_scale) {
  std::vector<AdamWTensor> tensors;
  for (size_t i = 0; i < state_.size(); ++i) {
    const Parameter& p = model_.parameters()[i];
    const bool rewrite = p.compute.scalar_type() == at::kBFloat16;
    tensors.push_back({.value = p.master,
                       .gradient = p.gradient,
                       .exp_avg = state_[i].exp_avg,
                       .exp_avg_sq = state_[i].exp_avg_sq,
                       .compute = rewrite ? p.compute : at::Tensor(),
                       .weight_decay = p.master.dim() >= 2 ? options_.weight_decay : 0.0});
  }
  ++num_updates_;
  adamw(tensors, {.learning_rate = learning_rate,
                  .beta1 = options_.beta1,
                  .beta2 = options_.beta2,
                  .epsilon = options_.epsilon,
                  .gradient_scale = gradient_scale,
                  .step = num_updates_});
}

double clip_factor(double norm, double max_norm) {
  if (max_norm <= 0) return 1.0;
  return std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace qtune
