// One model's AdamW: the lists of tensors and chunks go to the device once, a step is two launches.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <utility>

#include "kernel_ops.h"
#include "kernels/adamw.h"
#include "runtime.h"

namespace qtune {
namespace {

template <class T>
at::Tensor to_device_bytes(const std::vector<T>& values, at::Device device) {
  const auto size = static_cast<int64_t>(values.size() * sizeof(T));
  if (size == 0) return at::empty({0}, at::TensorOptions(at::kByte).device(device));
  // clone: on the CPU, to() would keep pointing into `values`.
  return at::from_blob(const_cast<T*>(values.data()), {size}, at::kByte).clone().to(device);
}

std::vector<AdamWTensorView> views_of(const std::vector<AdamWTensor>& tensors) {
  std::vector<AdamWTensorView> views;
  for (const AdamWTensor& t : tensors) {
    views.push_back({.value = pointer<float>(t.value),
                     .gradient = pointer<float>(t.gradient),
                     .exp_avg = pointer<float>(t.exp_avg),
                     .exp_avg_sq = pointer<float>(t.exp_avg_sq),
                     .compute = pointer<__nv_bfloat16>(t.compute),
                     .size = t.value.numel(),
                     .weight_decay = t.weight_decay});
  }
  return views;
}

/// Lists of tensors and of their chunks, on the device.
struct DeviceList {
  DeviceList(const std::vector<AdamWTensorView>& views, at::Device device) {
    const std::vector<AdamWChunk> chunk_list = adamw_chunks(views);
    tensors = to_device_bytes(views, device);
    chunks = to_device_bytes(chunk_list, device);
    num_chunks = static_cast<int64_t>(chunk_list.size());
  }
  AdamWModel model() const {
    return {
        .tensors = pointer<AdamWTensorView>(tensors), .chunks = pointer<AdamWChunk>(chunks), .num_chunks = num_chunks};
  }
  at::Tensor tensors, chunks;
  int64_t num_chunks = 0;
};

std::vector<AdamWTensorView> views_of(const std::vector<at::Tensor>& gradients) {
  std::vector<AdamWTensorView> views;
  for (const at::Tensor& g : gradients) views.push_back({.gradient = pointer<float>(g), .size = g.numel()});
  return views;
}

class KernelAdamW : public AdamW {
 public:
  KernelAdamW(std::vector<AdamWTensor> tensors, std::vector<at::Tensor> gradients)
      : tensors_(std::move(tensors)),
        gradients_(std::move(gradients)),
        updated_(views_of(tensors_), gradients_.front().device()),
        normed_(views_of(gradients_), gradients_.front().device()) {
    const auto doubles = at::TensorOptions(at::kDouble).device(gradients_.front().device());
    partials_ = at::empty({kNumNormPartials}, doubles);
    norm_ = at::empty({1}, doubles);
  }

  void update(const AdamWStep& step, double max_norm, const at::Tensor& nll_N) override {
    check_launch("sum_of_squares",
                 launch_sum_of_squares(normed_.model(), pointer<double>(partials_), current_stream()));
    // 0 for finite losses, else NaN: then the norm is NaN too, and the kernel leaves everything as it is.
    at::Tensor first = partials_.narrow(0, 0, 1);
    first.add_(nll_N.to(at::kDouble).mul(0.0).sum());
    check_launch("adamw", launch_adamw(updated_.model(),
                                       {.learning_rate = step.learning_rate,
                                        .beta1 = step.beta1,
                                        .beta2 = step.beta2,
                                        .epsilon = step.epsilon,
                                        .gradient_scale = step.gradient_scale,
                                        .max_norm = max_norm,
                                        .step = step.step,
                                        .partials = pointer<double>(partials_),
                                        .norm = pointer<double>(norm_)},
                                       current_stream()));
  }

  double norm() override { return norm_.item<double>(); }

 private:
  std::vector<AdamWTensor> tensors_;  // keep what the lists point at
  std::vector<at::Tensor> gradients_;
  DeviceList updated_, normed_;
  at::Tensor partials_, norm_;
};

}  // namespace

std::unique_ptr<AdamW> KernelOps::make_adamw(std::vector<AdamWTensor> tensors,
                                             std::vector<at::Tensor> gradients) const {
  return std::make_unique<KernelAdamW>(std::move(tensors), std::move(gradients));
}

}  // namespace qtune
