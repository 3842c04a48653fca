#include "qtune/optim/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace qtune {

std::vector<ShardSlice> shard_slices(Model& model, int count) {
  int64_t total = 0;
  for (const Parameter& p : model.parameters()) total += p.master.numel();
  std::vector<ShardSlice> slices;
  int64_t first = 0;  // element of all parameters that this one begins with
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const int64_t end = first + model.parameters()[i].master.numel();
    for (int rank = 0; rank < count; ++rank) {
      const int64_t from = std::max(first, total * rank / count), to = std::min(end, total * (rank + 1) / count);
      if (from < to) slices.push_back({.rank = rank, .parameter = i, .begin = from - first, .size = to - from});
    }
    first = end;
  }
  return slices;
}

Optimizer::Optimizer(Model& model, const AdamWOptions& options, OptimizerShard shard)
    : options_(options), shard_(shard) {
  std::vector<AdamWTensor> tensors;
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : model.parameters()) gradients.push_back(p.gradient);
  for (const ShardSlice& slice : shard_slices(model, shard.count)) {
    if (slice.rank != shard.rank) continue;
    const Parameter& p = model.parameters()[slice.parameter];
    const auto part = [&](const at::Tensor& t) {
      return shard.count == 1 ? t : t.view({-1}).narrow(0, slice.begin, slice.size);
    };
    const at::Tensor master = part(p.master);
    state_.push_back({p.name, at::zeros_like(master), at::zeros_like(master), slice.begin});
    const bool rewrite = p.compute.scalar_type() == at::kBFloat16;
    tensors.push_back({.value = master,
                       .gradient = part(p.gradient),
                       .exp_avg = state_.back().exp_avg,
                       .exp_avg_sq = state_.back().exp_avg_sq,
                       .compute = rewrite ? part(p.compute) : at::Tensor(),
                       .weight_decay = p.master.dim() >= 2 ? options_.weight_decay : 0.0});
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
