// For tests of faults: launches a faulty kernel in each order of threads.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/device.h"
#include "simt/fault.h"
#include "simt/orders.h"

namespace qtune::simt {

/// The one message of each launch, which fails as a kernel's fault does on a GPU.
template <auto kernel, class... Args>
std::vector<std::string> faults_of(const LaunchConfig& config, Args... args) {
  std::vector<std::string> messages;
  for_each_order([&] {
    FaultCapture capture;
    EXPECT_EQ(launch<kernel>(config, args...), cudaErrorLaunchFailure);
    EXPECT_EQ(capture.messages().size(), 1u);
    messages.insert(messages.end(), capture.messages().begin(), capture.messages().end());
  });
  return messages;
}

}  // namespace qtune::simt
