#include "qtune/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "qtune/ops/device.h"

namespace qtune {

Timing measure(at::Device device, const std::function<void()>& work, double budget_seconds) {
  constexpr int kWarmUps = 2, kFewest = 3, kMost = 100;
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (int i = 0; i < kWarmUps; ++i) work();
  synchronize(device);
  std::vector<double> seconds;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < kFewest || (i < kMost && since(start) < budget_seconds); ++i) {
    const Clock::time_point run = Clock::now();
    work();
    synchronize(device);
    seconds.push_back(since(run));
  }
  std::sort(seconds.begin(), seconds.end());
  return {.median_seconds = seconds[seconds.size() / 2],
          .min_seconds = seconds.front(),
          .num_runs = static_cast<int>(seconds.size())};
}

}  // namespace qtune
