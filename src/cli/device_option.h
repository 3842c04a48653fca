// --device of the commands that run a model.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "qtune/ops/device.h"

namespace qtune {

inline void add_device_option(CLI::App& command, std::string& device) {
  command.add_option("--device", device, "auto: a GPU if there is one")
      ->check(CLI::IsMember({"auto", "cpu"}))
      ->capture_default_str();
}

inline at::Device device_from(const std::string& name) {
  return choose_device(name == "cpu" ? DeviceChoice::kCpuOnly : DeviceChoice::kGpuIfAny);
}

}  // namespace qtune
