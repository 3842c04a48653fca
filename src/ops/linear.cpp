#include "qtune/ops/linear.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include "checks.h"
#include "linear_few_rows.h"
#include "qtune/ops/device_ops.h"
#include "qtune/ops/elementwise.h"
#include "vector_math.h"

namespace qtune {
namespace {

constexpr int64_t kRowGrain = 16, kColumnGrain = 64;

}  // namespace

void linear(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO) {
  check_shape("linear", "y", y_NO, {x_NI.size(0), weight_OI.size(0)});
  if (x_NI.size(0) == 0) return;
  if (x_NI.is_cpu() && x_NI.size(0) <= kFewRows && x_NI.scalar_type() == at::kFloat && x_NI.is_contiguous() &&
      weight_OI.is_contiguous()) {
    return linear_few_rows(x_NI, weight_OI, y_NO);
  }
  at::Tensor y = y_NO;
  at::mm_out(y, x_NI, weight_OI.t());
}

void linear_accumulate(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO) {
  if (x_NI.size(0) == 0) return;
  at::Tensor y = y_NO;
  at::addmm_out(y, y_NO, x_NI, weight_OI.t());
}

void linear_input_gradient(const at::Tensor& dy_NO, const at::Tensor& weight_OI, const at::Tensor& dx_NI) {
  check_shape("linear_input_gradient", "dx", dx_NI, {dy_NO.size(0), weight_OI.size(1)});
  if (dy_NO.size(0) == 0) return;
  at::Tensor dx = dx_NI;
  at::mm_out(dx, dy_NO, weight_OI);
}

void linear_weight_gradient(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& dweight_OI,
                            const at::Tensor& scratch_OI) {
  check_shape("linear_weight_gradient", "dweight", dweight_OI, {dy_NO.size(1), x_NI.size(1)});
  check_dtype("linear_weight_gradient", "dweight", dweight_OI, at::kFloat);
  if (dy_NO.size(0) == 0) return;
  if (const DeviceOps* device = device_ops(dweight_OI)) return device->linear_weight_gradient(dy_NO, x_NI, dweight_OI);
  at::Tensor dweight = dweight_OI;
  if (x_NI.scalar_type() == at::kFloat) {
    at::addmm_out(dweight, dweight, dy_NO.t(), x_NI);
    return;
  }
  at::Tensor product = scratch_OI;
  at::mm_out(product, dy_NO.t(), x_NI);
  accumulate(product, dweight);
}

void add_bias(const at::Tensor& bias_O, const at::Tensor& y_NO) {
  const int64_t n = y_NO.size(0), o = y_NO.size(1);
  check_shape("add_bias", "bias", bias_O, {o});
  check_dtype("add_bias", "bias", bias_O, at::kFloat);
  if (const DeviceOps* device = device_ops(y_NO)) return device->add_bias(bias_O, y_NO);
  dispatch_compute_dtype("add_bias", y_NO, [&](auto element) {
    using T = decltype(element);
    const float* bias = bias_O.data_ptr<float>();
    T* y = y_NO.data_ptr<T>();
    at::parallel_for(0, n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
#pragma omp simd
        for (int64_t j = 0; j < o; ++j) y[i * o + j] = from_float<T>(to_float(y[i * o + j]) + bias[j]);
      }
    });
  });
}

void bias_gradient(const at::Tensor& dy_NO, const at::Tensor& dbias_O) {
  const int64_t n = dy_NO.size(0), o = dy_NO.size(1);
  check_shape("bias_gradient", "dbias", dbias_O, {o});
  check_dtype("bias_gradient", "dbias", dbias_O, at::kFloat);
  if (const DeviceOps* device = device_ops(dbias_O)) return device->bias_gradient(dy_NO, dbias_O);
  dispatch_compute_dtype("bias_gradient", dy_NO, [&](auto element) {
    using T = decltype(element);
    const T* dy = dy_NO.data_ptr<T>();
    float* dbias = dbias_O.data_ptr<float>();
    at::parallel_for(0, o, kColumnGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < n; ++i) {
#pragma omp simd
        for (int64_t j = begin; j < end; ++j) dbias[j] += to_float(dy[i * o + j]);
      }
    });
  });
}

}  // namespace qtune
