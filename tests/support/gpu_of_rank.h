// A GPU for each rank of a test on this host.
#pragma once

#include <optional>

#include "qtune/dist/launch.h"
#include "qtune/ops/device.h"

namespace qtune {

/// It becomes the process's current one. nullopt: there are fewer than ranks. Call it in the rank's own process.
inline std::optional<at::Device> gpu_of_rank(const Launch& launch) {
  if (load_gpu_support().num_devices < launch.local_world_size) return std::nullopt;
  return choose_device(DeviceChoice::kGpuIfAny, launch.local_rank);
}

}  // namespace qtune
