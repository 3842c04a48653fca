// Barriers of the emulation: what they return, and that all threads pass them together.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/device.h"
#include "simt/orders.h"
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
  simt::for_each_order([] {
    std::vector<int> in(100), out = simt::poisoned<int>(100);
    for (int i = 0; i < 100; ++i) in[static_cast<size_t>(i)] = i * i;
    ASSERT_EQ(launch<reverse_kernel>({1, 100}, in.data(), out.data()), cudaSuccess);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], (99 - i) * (99 - i));
  });
}

__global__ void vote_kernel(const int* votes, int* count, int* any, int* all) {
  const int i = static_cast<int>(threadIdx.x);
  count[i] = __syncthreads_count(votes[i]);
  any[i] = __syncthreads_or(votes[i]);
  all[i] = __syncthreads_and(votes[i]);
}

TEST(SimtBarrier, CountOrAndOverTheWholeBlock) {
  for (const int num_true : {0, 1, 69, 70}) {
    std::vector<int> votes(70), count(70), any(70), all(70);
    for (int i = 0; i < num_true; ++i) votes[static_cast<size_t>(69 - i)] = 7;
    ASSERT_EQ(launch<vote_kernel>({1, 70}, votes.data(), count.data(), any.data(), all.data()), cudaSuccess);
    EXPECT_EQ(count, std::vector<int>(70, num_true));
    EXPECT_EQ(any, std::vector<int>(70, num_true > 0));
    EXPECT_EQ(all, std::vector<int>(70, num_true == 70));
  }
}

__global__ void tree_sum_kernel(const int* in, int* out) {
  QTUNE_DYNAMIC_SHARED(int, sums);
  const int i = static_cast<int>(threadIdx.x);
  sums[i] = in[i];
  __syncthreads();
  for (int half = static_cast<int>(blockDim.x) / 2; half > 0; half /= 2) {
    if (i < half) sums[i] += sums[i + half];
    __syncthreads();
  }
  if (i == 0) out[blockIdx.x] = sums[0];
}

TEST(SimtBarrier, SumByHalvesOverSeveralBlocks) {
  simt::for_each_order([] {
    std::vector<int> in(1024), out = simt::poisoned<int>(5);
    for (int i = 0; i < 1024; ++i) in[static_cast<size_t>(i)] = i;
    ASSERT_EQ(launch<tree_sum_kernel>({5, 1024, 1024 * sizeof(int)}, in.data(), out.data()), cudaSuccess);
    EXPECT_EQ(out, std::vector<int>(5, 1023 * 512));
  });
}

__global__ void coordinates_kernel(int* seen) {
  const auto number = [](uint3 i, dim3 of) { return i.x + of.x * (i.y + of.y * i.z); };
  const unsigned block = number(blockIdx, gridDim), thread = number(threadIdx, blockDim);
  __syncthreads();  // the coordinates are a thread's own on both sides of a wait
  const unsigned digits =
      threadIdx.x + 10 * threadIdx.y + 100 * threadIdx.z + 1000 * blockIdx.x + 10000 * blockIdx.y + 100000 * blockIdx.z;
  seen[block * blockDim.x * blockDim.y * blockDim.z + thread] += static_cast<int>(digits);
}

TEST(SimtLaunch, ThreeDimensionsOfBlocksAndThreads) {
  std::vector<int> seen(3 * 4 * 2 * 5 * 6 * 7);
  ASSERT_EQ(launch<coordinates_kernel>({dim3(3, 4, 2), dim3(5, 6, 7)}, seen.data()), cudaSuccess);
  for (int i = 0; i < 24 * 210; ++i) {
    const int thread = i % 210, block = i / 210;
    const int digits = thread % 5 + 10 * (thread / 5 % 6) + 100 * (thread / 30) + 1000 * (block % 3) +
                       10000 * (block / 3 % 4) + 100000 * (block / 12);
    ASSERT_EQ(seen[static_cast<size_t>(i)], digits) << i;
  }
}

TEST(SimtLaunch, LimitsOfAGpuAreKept) {
  int seen = 0;
  for (const LaunchConfig& config : {LaunchConfig{0, 32}, LaunchConfig{1, 0}, LaunchConfig{1, 1025},
                                     LaunchConfig{dim3(1, 65536), 1}, LaunchConfig{1, 32, size_t{228} << 10}}) {
    EXPECT_EQ(launch<coordinates_kernel>(config, &seen), cudaErrorInvalidConfiguration);
  }
  EXPECT_EQ(seen, 0);
}

__global__ void arrival_kernel(int* order, int* next) { order[(*next)++] = static_cast<int>(threadIdx.x); }

TEST(SimtLaunch, ThreadsOfEachBlockTakeTurnsInAnotherOrder) {
  std::vector<int> order(3 * 64);
  int next = 0;
  ASSERT_EQ(launch<arrival_kernel>({3, 64}, order.data(), &next), cudaSuccess);
  const std::vector<int> first(order.begin(), order.begin() + 64), second(order.begin() + 64, order.begin() + 128),
      third(order.begin() + 128, order.end());
  EXPECT_EQ(first, std::vector<int>(second.rbegin(), second.rend()));
  EXPECT_TRUE(first != third && second != third);
  EXPECT_TRUE(std::is_permutation(first.begin(), first.end(), third.begin()));
}

}  // namespace
}  // namespace qtune
