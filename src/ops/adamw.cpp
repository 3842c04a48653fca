#include "qtune/ops/adamw.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "checks.h"
#include "qtune/ops/device_ops.h"
#include "vector_math.h"

namespace qtune {
namespace {

constexpr int64_t kGrain = 1 << 16;

void update(const AdamWTensor& t, const AdamWStep& s) {
  const int64_t n = t.value.numel();
  float* value = t.value.data_ptr<float>();
  const float* gradient = t.gradient.data_ptr<float>();
  float *m = t.exp_avg.data_ptr<float>(), *v = t.exp_avg_sq.data_ptr<float>();
  at::BFloat16* compute = t.compute.defined() ? t.compute.data_ptr<at::BFloat16>() : nullptr;
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  const float keep = static_cast<float>(1 - s.learning_rate * t.weight_decay);
  const float step_size = static_cast<float>(s.learning_rate / correction1);
  const float root_correction = static_cast<float>(std::sqrt(correction2));
  const float b1 = static_cast<float>(s.beta1), b2 = static_cast<float>(s.beta2);
  const float c1 = static_cast<float>(1 - s.beta1), c2 = static_cast<float>(1 - s.beta2);
  const float epsilon = static_cast<float>(s.epsilon), scale = static_cast<float>(s.gradient_scale);
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      const float g = gradient[i] * scale;
      m[i] = b1 * m[i] + c1 * g;
      v[i] = b2 * v[i] + c2 * g * g;
      value[i] = value[i] * keep - step_size * m[i] / (std::sqrt(v[i]) / root_correction + epsilon);
    }
    if (compute == nullptr) return;
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) compute[i] = from_float<at::BFloat16>(value[i]);
  });
}

void check_tensor(const AdamWTensor& t) {
  for (const at::Tensor* other : {&t.gradient, &t.exp_avg, &t.exp_avg_sq}) {
    check_shape("adamw", "state", *other, t.value.sizes());
    check_dtype("adamw", "state", *other, at::kFloat);
  }
}

bool all_finite(const at::Tensor& values) {
  const float* x = values.data_ptr<float>();
  return std::all_of(x, x + values.numel(), [](float v) { return std::isfinite(v); });
}

class CpuAdamW : public AdamW {
 public:
  CpuAdamW(std::vector<AdamWTensor> tensors, std::vector<at::Tensor> gradients)
      : tensors_(std::move(tensors)), gradients_(std::move(gradients)) {}
  void update(const AdamWStep& step, double max_norm, const at::Tensor& nll_N) override {
    norm_ =
        all_finite(nll_N) ? global_norm(gradients_) * step.gradient_scale : std::numeric_limits<double>::quiet_NaN();
    if (!std::isfinite(norm_)) return;
    AdamWStep clipped = step;
    clipped.gradient_scale *= clip_factor(norm_, max_norm);
    adamw(tensors_, clipped);
  }
  double norm() override { return norm_; }

 private:
  std::vector<AdamWTensor> tensors_;
  std::vector<at::Tensor> gradients_;
  double norm_ = 0;
};

}  // namespace

double clip_factor(double norm, double max_norm) {
  if (max_norm <= 0) return 1.0;
  return std::min(1.0, max_norm / (norm + 1e-6));
}

std::unique_ptr<AdamW> make_adamw(std::vector<AdamWTensor> tensors, std::vector<at::Tensor> gradients) {
  for (const AdamWTensor& t : tensors) check_tensor(t);
  if (gradients.empty()) {
    for (const AdamWTensor& t : tensors) gradients.push_back(t.gradient);
  }
  if (gradients.empty()) return std::make_unique<CpuAdamW>(std::move(tensors), std::move(gradients));
  if (const DeviceOps* device = device_ops(gradients.front())) {
    return device->make_adamw(std::move(tensors), std::move(gradients));
  }
  return std::make_unique<CpuAdamW>(std::move(tensors), std::move(gradients));
}

void adamw(const std::vector<AdamWTensor>& tensors, const AdamWStep& step) {
  for (const AdamWTensor& t : tensors) {
    check_tensor(t);
    update(t, step);
  }
}

double global_norm(const std::vector<at::Tensor>& tensors) {
  double total = 0;
  for (const at::Tensor& t : tensors) {
    check_dtype("global_norm", "tensor", t, at::kFloat);
    const int64_t n = t.numel(), num_blocks = (n + kGrain - 1) / kGrain;
    const float* x = t.data_ptr<float>();
    std::vector<double> partial(static_cast<size_t>(num_blocks));
    at::parallel_for(0, num_blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = b * kGrain; i < std::min(n, (b + 1) * kGrain); ++i) sum += static_cast<double>(x[i]) * x[i];
        partial[static_cast<size_t>(b)] = sum;
      }
    });
    for (const double p : partial) total += p;
  }
  return std::sqrt(total);
}

}  // namespace qtune
