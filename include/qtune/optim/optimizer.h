// AdamW over a model's parameters, with the parameter groups of the Hugging Face Trainer: weight decay on matrices and
// embeddings, none on norm weights and biases.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "qtune/model/model.h"

namespace qtune {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
};

/// Optimizer state of one parameter, as a checkpoint stores it; float32, shape of the parameter.
struct ParameterState {
  std::string name;
  at::Tensor exp_avg, exp_avg_sq;
};

class Optimizer {
 public:
  /// `model` must be loaded for training and outlive the optimizer.
  Optimizer(Model& model, const AdamWOptions& options);

  /// L2 norm over all gradients as they stand (of the sum of nll).
  double gradient_norm() const;

  /// One update: gradients times gradient_scale, AdamW, compute weights rewritten. Gradients are left as they are.
  void update(double learning_rate, double gradient_scale);

  std::vector<ParameterState>& state() { return state_; }
  int64_t num_updates() const { return num_updates_; }
  void set_num_updates(int64_t n) { num_updates_ = n; }

 private:
  Model& model_;
  AdamWOptions options_;
  std::vector<ParameterState> state_;
  int64_t num_updates_ = 0;
};

/// Factor that brings a gradient of norm `norm` down to `max_norm` (1 when it is below; max_norm 0 means no clipping).
/// As torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1.
double clip_factor(double norm, double max_norm);

}  // namespace qtune
