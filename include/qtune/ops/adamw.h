// Multi-tensor AdamW on float32 masters (Loshchilov and Hutter 2019, as torch.optim.AdamW computes it), and the global
// gradient norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace qtune {

/// One tensor's update. All contiguous and of one size; all float32 but `compute`.
struct AdamWTensor {
  at::Tensor value;     // master weights, updated in place
  at::Tensor gradient;  // multiplied by AdamWStep::gradient_scale when read
  at::Tensor exp_avg, exp_avg_sq;
  at::Tensor compute;  // bfloat16 copy that the next forward reads, rewritten in the same sweep; undefined in float32
  double weight_decay = 0;
};

struct AdamWStep {
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double gradient_scale = 1;  // 1 / kept tokens, times the clipping factor
  int64_t step = 1;           // from 1, for bias correction
};

/// On the CPU.
void adamw(const std::vector<AdamWTensor>& tensors, const AdamWStep& step);

/// On the CPU. Square root of the sum of squares over all tensors (float32), summed in double over fixed blocks in a
/// fixed order, so that the value does not depend on the number of threads.
double global_norm(const std::vector<at::Tensor>& tensors);

/// Factor that brings a gradient of norm `norm` down to `max_norm` (1 when it is below; max_norm 0 means no clipping).
/// As torch.nn.utils.clip_grad_norm_: max_norm / (norm + 1e-6), at most 1.
double clip_factor(double norm, double max_norm);

/// Clipping and update of one model's tensors, on their device.
class AdamW {
 public:
  virtual ~AdamW() = default;

  /// Clips the gradients (times step.gradient_scale) to max_norm and updates. Where their norm, or one of the step's
  /// losses nll_N (float32, on the same device), is not finite, everything stays as it is. Async on a GPU.
  virtual void update(const AdamWStep& step, double max_norm, const at::Tensor& nll_N) = 0;

  /// The norm that the last update found: of the gradients times gradient_scale, before clipping. Waits for it.
  /// Not finite: there was no update.
  virtual double norm() = 0;
};

/// All tensors of one device. `gradients`: those that the norm is taken of, where they are more than the tensors' own
/// (a rank that updates its shard of a model); empty: the tensors' own.
std::unique_ptr<AdamW> make_adamw(std::vector<AdamWTensor> tensors, std::vector<at::Tensor> gradients = {});

}  // namespace qtune
