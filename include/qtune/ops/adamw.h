// Multi-tensor AdamW on float32 masters (Loshchilov and Hutter 2019, as torch.optim.AdamW computes it), and the global
// gradient norm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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

void adamw(const std::vector<AdamWTensor>& tensors, const AdamWStep& step);

/// Square root of the sum of squares over all tensors (float32), summed in double over fixed blocks in a fixed order,
/// so that the value does not depend on the number of threads.
double global_norm(const std::vector<at::Tensor>& tensors);

}  // namespace qtune
