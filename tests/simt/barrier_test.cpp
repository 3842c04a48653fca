// Barriers of the emulation: what they return, and that all threads pass them together.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/device.h"
#include "simt/poison.h"

namespace qtune {
namespace {

__global__ void reverse_kernel(const int* in, int* out) {
  QTUNE_SHARED(int, values, 100);
  const int n = static_cast<int>(blockDim.x), i = static_cast<int>(threadIdx.x);
  values[i] = in[i];
  __syncthreads();
  out[i] = values[n - 1 - i];
}

TEST(SimtBarrier, EveryThreadSeesWhatOthersWroteBefore) {
  std::vector<int> in(100), out = simt::poisoned<int>(100);
  for (int i = 0; i < 100; ++i) in[static_cast<size_t>(i)] = i * i;
  ASSERT_EQ(launch<reverse_kernel>({1, 100}, in.data(), out.data()), cudaSuccess);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], (99 - i) * (99 - i));
}

}  // namespace
}  // namespace qtune
