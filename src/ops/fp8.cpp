#include "qtune/ops/fp8.h"

#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <fmt/format.h>

#include "checks.h"
#include "qtune/base/error.h"
#include "qtune/ops/device_ops.h"

namespace qtune {
namespace {

constexpr double kLargestE4m3 = 448;

/// Null: the CPU's plain form.
const DeviceOps* fp8_ops(const at::Tensor& t) {
  const DeviceOps* device = device_ops(t);
  if (device != nullptr && !device->has_fp8()) {
    throw Error(fmt::format("fp8: expected a GPU of compute capability 8.9 or newer, found {}", device->describe()));
  }
  return device;
}

void round_rows(const at::Tensor& x_NK, at::Tensor values_NK, at::Tensor scales_N) {
  const at::Tensor x = x_NK.to(at::kFloat), largest_N = x.abs().amax(1);
  scales_N.copy_(largest_N.div(kLargestE4m3).masked_fill_(largest_N.eq(0), 1));
  values_NK.copy_(x.mul(scales_N.reciprocal().unsqueeze(1)).clamp_(-kLargestE4m3, kLargestE4m3));
}

at::Tensor widened(const at::Tensor& values_NK, const at::Tensor& scales_N) {
  return values_NK.to(at::kFloat).mul_(scales_N.unsqueeze(1));
}

}  // namespace

bool has_fp8(at::Device device) {
  const DeviceOps* ops = device_ops(device.type());
  return ops != nullptr && ops->has_fp8();
}

void make_fp8_weight(const at::Tensor& weight_OI, Fp8Weight& weight) {
  const DeviceOps* ops = fp8_ops(weight_OI);
  const int64_t o = weight_OI.size(0), i = weight_OI.size(1);
  if (o % 16 != 0 || i % 16 != 0) {
    throw Error(fmt::format("fp8: expected weights of multiples of 16 rows and columns, found {} by {}", o, i));
  }
  if (!weight.values_OI.defined()) {
    weight.values_OI = at::empty({o, i}, weight_OI.options().dtype(at::kFloat8_e4m3fn));
    weight.scales_O = at::empty({o}, weight_OI.options().dtype(at::kFloat));
  }
  if (ops != nullptr) return ops->fp8_rows(weight_OI, weight.values_OI, weight.scales_O);
  round_rows(weight_OI, weight.values_OI, weight.scales_O);
}

void linear_fp8(const at::Tensor& x_NI, const Fp8Weight& weight, const at::Tensor& y_NO) {
  check_shape("linear_fp8", "y", y_NO, {x_NI.size(0), weight.values_OI.size(0)});
  check_dtype("linear_fp8", "x", x_NI, at::kBFloat16);
  if (x_NI.size(0) == 0) return;
  if (const DeviceOps* ops = fp8_ops(x_NI)) return ops->linear_fp8(x_NI, weight.values_OI, weight.scales_O, y_NO);
  Fp8Weight x{.values_OI = at::empty(x_NI.sizes(), weight.values_OI.options()),
              .scales_O = at::empty({x_NI.size(0)}, weight.scales_O.options())};
  round_rows(x_NI, x.values_OI, x.scales_O);
  at::Tensor y = y_NO;
  y.copy_(at::mm(widened(x.values_OI, x.scales_O), widened(weight.values_OI, weight.scales_O).t()));
}

}  // namespace qtune
