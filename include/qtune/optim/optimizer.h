// AdamW over a model's parameters, with the parameter groups of the Hugging Face Trainer: weight decay on matrices and
// embeddings, none on norm weights and biases.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "qtune/model/model.h"
#include "qtune/ops/adamw.h"

namespace qtune {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
};

/// Optimizer state of one parameter, as a checkpoint stores it; float32. Unsharded: the shape of the parameter. Of a
/// shard: the elements from `begin` on of the flattened parameter.
struct ParameterState {
  std::string name;
  at::Tensor exp_avg, exp_avg_sq;
  int64_t begin = 0;
  at::Tensor master;  // where masters are sliced too: the same elements; shared with the model
};

/// Slices of the model's parameters, by their indices.
std::vector<ShardSlice> shard_slices(Model& model, int count);

class Optimizer {
 public:
  /// `model` must be loaded for training and outlive the optimizer; its parameters keep their memory.
  /// With a shard of several (if masters are sliced, the same one), update() changes its slices alone (their norm is
  /// all parameters'); whoever shares the work brings the other slices.
  Optimizer(Model& model, const AdamWOptions& options, Shard shard = {});

  /// One update: gradients times gradient_scale, clipped to max_norm (0: no clipping), AdamW, compute weights
  /// rewritten. Gradients are left as they are. Where their norm or one of the step's losses nll_N is not finite,
  /// nothing is changed. Async on a GPU.
  void update(double learning_rate, double gradient_scale, double max_norm, const at::Tensor& nll_N);

  /// Ends the update: waits for it and returns the norm of the scaled gradients before clipping. Not finite: there was
  /// no update, and none is counted.
  double finish_update();

  std::vector<ParameterState>& state() { return state_; }
  const Shard& shard() const { return shard_; }
  int64_t num_updates() const { return num_updates_; }
  void set_num_updates(int64_t n) { num_updates_ = n; }

 private:
  AdamWOptions options_;
  Shard shard_;
  std::vector<ParameterState> state_;
  std::unique_ptr<AdamW> adamw_;
  int64_t num_updates_ = 0;
};

}  // namespace qtune
