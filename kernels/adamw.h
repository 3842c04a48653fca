// Launchers of multi-tensor AdamW (Loshchilov and Hutter 2019) on float32 masters: two launches a step, whatever the
// number of tensors. The host never waits for the gradient norm. They allocate nothing and never synchronise.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace qtune {

/// One tensor; all arrays on the device, of `size` elements. 16-byte alignment is faster, not required.
struct AdamWTensorView {
  float* value = nullptr;           // master weights, updated in place
  const float* gradient = nullptr;  // multiplied by gradient_scale and the clipping factor when read
  float *exp_avg = nullptr, *exp_avg_sq = nullptr;
  __nv_bfloat16* compute = nullptr;  // copy that the next forward reads, rewritten in the same sweep; or null
  int64_t size = 0;
  double weight_decay = 0;
};

/// A stretch of one tensor that one block works on: elements begin .. min(begin + kAdamWChunkSize, size).
struct AdamWChunk {
  int64_t begin = 0;
  int32_t tensor = 0;
};

inline constexpr int64_t kAdamWChunkSize = 1 << 15;

/// Doubles that the sum of squares leaves for the update, whatever the model.
inline constexpr int64_t kNumNormPartials = 1024;

/// All chunks of a model, in the tensors' order. Made once, on the host, and copied to the device. A tensor of size 0
/// has none.
inline std::vector<AdamWChunk> adamw_chunks(const std::vector<AdamWTensorView>& tensors) {
  std::vector<AdamWChunk> chunks;
  for (size_t t = 0; t < tensors.size(); ++t) {
    for (int64_t begin = 0; begin < tensors[t].size; begin += kAdamWChunkSize) {
      chunks.push_back({begin, static_cast<int32_t>(t)});
    }
  }
  return chunks;
}

/// Lists of tensors and of their chunks, both on the device.
struct AdamWModel {
  const AdamWTensorView* tensors = nullptr;
  const AdamWChunk* chunks = nullptr;
  int64_t num_chunks = 0;
};

/// Sums of the squares of all gradients: partials (kNumNormPartials) doubles, each summed in double in a fixed order.
/// Ranks that hold a shard each may add their partials element by element before the update.
/// Empty: no chunks give zeros.
cudaError_t launch_sum_of_squares(const AdamWModel& model, double* partials, cudaStream_t stream);

struct AdamWUpdate {
  double learning_rate = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double gradient_scale = 1;         // 1 / kept tokens
  double max_norm = 0;               // gradients are scaled down to this norm; 0: no clipping
  int64_t step = 1;                  // from 1, for bias correction
  const double* partials = nullptr;  // of launch_sum_of_squares
  double* norm = nullptr;            // out, one double: gradient_scale * |gradients|, before clipping
};

/// One update of all tensors. Clipping as torch.nn.utils.clip_grad_norm_: factor min(1, max_norm / (norm + 1e-6)).
/// A norm that is not finite leaves weights and state as they are; the host finds it in `norm`.
/// Gradients are left as they are. Empty: no chunks write the norm alone.
cudaError_t launch_adamw(const AdamWModel& model, const AdamWUpdate& update, cudaStream_t stream);

}  // namespace qtune
