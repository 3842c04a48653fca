#include "qtune/optim/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace qtune {

std::vector<ShardSlice> shard_slices(Model& model, int count) {
  std::vector<int64_t> sizes;
  for (const Parameter& p : model.parameters()) sizes.push_back(p.compute.numel());
  return shard_slices(sizes, count);
}

Optimizer::Optimizer(Model& model, const AdamWOptions& options, Shard shard) : options_(options), shard_(shard) {
  std::vector<AdamWTensor> tensors;
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : model.parameters()) gradients.push_back(p.gradient);
  for (const ShardSlice& slice : shard_slices(model, shard.count)) {
    if (slice.rank != shard.rank) continue;
    const Parameter& p = model.parameters()[slice.tensor];
    const auto part = [&](const at::Tensor& t) {
      return shard.count == 1 ? t : t.view({-1}).narrow(0, slice.begin, slice.size);
    };
    const at::Tensor master = p.master_begin ? p.master : part(p.master);
    state_.push_back({.name = p.name,
                      .exp_avg = at::zeros_like(master),
                      .exp_avg_sq = at::zeros_like(master),
                      .begin = slice.begin,
                      .master = p.master_begin ? master : at::Tensor()});
    const bool rewrite = p.compute.scalar_type() == at::kBFloat16;
    tensors.push_back({.value = master,
                       .gradient = part(p.gradient),
                       .exp_avg = state_.back().exp_avg,
                       .exp_avg_sq = state_.back().exp_avg_sq,
                       .compute = rewrite ? part(p.compute) : at::Tensor(),
                       .weight_decay = p.compute.dim() >= 2 ? options_.weight_decay : 0.0});
  }
  adamw_ = make_adamw(std::move(tensors), std::move(gradients));
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
