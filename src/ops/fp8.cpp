#include "qtune/ops/fp8.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "checks.h"
#include "qtune/base/error.h"
#include "qtune/ops/device_ops.h"

namespace qtune {
namespace {

const DeviceOps& fp8_ops(const at::Tensor& t) {
  const DeviceOps* device = device_ops(t);
  if (device != nullptr && device->has_fp8()) return *device;
  throw Error(fmt::format("fp8: expected a GPU of compute capability 8.9 or newer, found {}", t.device().str()));
}

}  // namespace

bool has_fp8(at::Device device) {
  const DeviceOps* ops = device_ops(device.type());
  return ops != nullptr && ops->has_fp8();
}

void make_fp8_weight(const at::Tensor& weight_OI, Fp8Weight& weight) {
  const DeviceOps& ops = fp8_ops(weight_OI);
  const int64_t o = weight_OI.size(0), i = weight_OI.size(1);
  if (o % 16 != 0 || i % 16 != 0) {
    throw Error(fmt::format("fp8: expected weights of multiples of 16 rows and columns, found {} by {}", o, i));
  }
  if (!weight.values_OI.defined()) {
    weight.values_OI = at::empty({o, i}, weight_OI.options().dtype(at::kFloat8_e4m3fn));
    weight.scales_O = at::empty({o}, weight_OI.options().dtype(at::kFloat));
  }
  ops.fp8_rows(weight_OI, weight.values_OI, weight.scales_O);
}

void linear_fp8(const at::Tensor& x_NI, const Fp8Weight& weight, const at::Tensor& y_NO) {
  check_shape("linear_fp8", "y", y_NO, {x_NI.size(0), weight.values_OI.size(0)});
  check_dtype("linear_fp8", "x", x_NI, at::kBFloat16);
  if (x_NI.size(0) == 0) return;
  fp8_ops(x_NI).linear_fp8(x_NI, weight.values_OI, weight.scales_O, y_NO);
}

}  // namespace qtune
