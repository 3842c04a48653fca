// Timing of work on a device.
#pragma once

#include <c10/core/Device.h>

#include <functional>

namespace qtune {

struct Timing {
  double median_seconds = 0, min_seconds = 0;
  int num_runs = 0;
};

/// Runs `work` twice to warm up, then until `budget_seconds` have passed (at least 3, at most 100 times), each run
/// timed with the device idle before and after.
Timing measure(at::Device device, const std::function<void()>& work, double budget_seconds);

}  // namespace qtune
