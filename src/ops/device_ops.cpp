#include "qtune/ops/device_ops.h"

#include <array>

namespace qtune {
namespace {

std::array<const DeviceOps*, static_cast<size_t>(at::COMPILE_TIME_MAX_DEVICE_TYPES)>& table() {
  static std::array<const DeviceOps*, static_cast<size_t>(at::COMPILE_TIME_MAX_DEVICE_TYPES)> ops{};
  return ops;
}

}  // namespace

const DeviceOps* device_ops(at::DeviceType type) { return table()[static_cast<size_t>(type)]; }
const DeviceOps* device_ops(const at::Tensor& t) { return device_ops(t.device().type()); }
void set_device_ops(at::DeviceType type, const DeviceOps* ops) { table()[static_cast<size_t>(type)] = ops; }

}  // namespace qtune
