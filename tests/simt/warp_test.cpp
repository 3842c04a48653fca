// Warp collectives of the emulation, each against what CUDA's programming guide says it returns.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/device.h"
#include "simt/orders.h"
#include "simt/poison.h"

namespace qtune {
namespace {

__device__ int index() { return static_cast<int>(threadIdx.x); }

__global__ void shuffles_kernel(int* broadcast, int* up, int* down, int* across, int width) {
  broadcast[index()] = __shfl_sync(kFullWarp, 100 + index(), 3, width);
  up[index()] = __shfl_up_sync(kFullWarp, 100 + index(), 2, width);
  down[index()] = __shfl_down_sync(kFullWarp, 100 + index(), 2, width);
  across[index()] = __shfl_xor_sync(kFullWarp, 100 + index(), 5, width);
}

TEST(SimtWarp, ShufflesStayInGroupsOfTheirWidth) {
  simt::for_each_order([] {
    for (const int width : {4, 8, 32}) {
      auto broadcast = simt::poisoned<int>(64), up = broadcast, down = broadcast, across = broadcast;
      ASSERT_EQ(launch<shuffles_kernel>({1, 64}, broadcast.data(), up.data(), down.data(), across.data(), width),
                cudaSuccess);
      for (int i = 0; i < 64; ++i) {
        const auto at = static_cast<size_t>(i);
        const int group = i / width * width, end = group + width;
        EXPECT_EQ(broadcast[at], 100 + group + 3);
        EXPECT_EQ(up[at], 100 + (i - 2 >= group ? i - 2 : i));
        EXPECT_EQ(down[at], 100 + (i + 2 < end ? i + 2 : i));
        // Groups before the own one can be read, groups behind it not.
        EXPECT_EQ(across[at], 100 + ((i ^ 5) < end ? i ^ 5 : i)) << width << " " << i;
      }
    }
  });
}

template <class T>
__global__ void sum_kernel(const T* in, T* out) {
  T value = in[threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(kFullWarp, value, offset);
  out[threadIdx.x] = value;
}

template <class T>
void expect_sum_of_a_warp() {
  std::vector<T> in(32), out(32);
  for (int i = 0; i < 32; ++i) in[static_cast<size_t>(i)] = static_cast<T>(i);
  ASSERT_EQ(launch<sum_kernel<T>>({1, 32}, in.data(), out.data()), cudaSuccess);
  EXPECT_EQ(out, std::vector<T>(32, static_cast<T>(496)));
}

TEST(SimtWarp, ShufflesCarryFourAndEightByteTypes) {
  expect_sum_of_a_warp<int>();
  expect_sum_of_a_warp<unsigned long long>();
  expect_sum_of_a_warp<float>();
  expect_sum_of_a_warp<double>();
}

__global__ void votes_kernel(unsigned* ballot, int* any, int* all, unsigned* match) {
  const unsigned half = index() % 32 < 16 ? 0x0000ffffu : 0xffff0000u;  // both halves vote on their own
  ballot[index()] = __ballot_sync(half, index() % 3 == 0);
  any[index()] = __any_sync(half, index() == 20);
  all[index()] = __all_sync(half, index() != 20);
  match[index()] = __match_any_sync(half, index() % 4);
}

TEST(SimtWarp, VotesOfTwoHalvesOfAWarpStayApart) {
  simt::for_each_order([] {
    std::vector<unsigned> ballot(32), match(32);
    std::vector<int> any(32), all(32);
    ASSERT_EQ(launch<votes_kernel>({1, 32}, ballot.data(), any.data(), all.data(), match.data()), cudaSuccess);
    for (size_t i = 0; i < 32; ++i) {
      const unsigned half = i < 16 ? 0x0000ffffu : 0xffff0000u;
      EXPECT_EQ(ballot[i], 0x49249249u & half);
      EXPECT_EQ(any[i], i >= 16);
      EXPECT_EQ(all[i], i < 16);
      EXPECT_EQ(match[i], (0x11111111u << (i % 4)) & half);
    }
  });
}

__global__ void reduce_kernel(int* sum, int* most, int* least) {
  sum[index()] = __reduce_add_sync(kFullWarp, index() - 10);
  most[index()] = __reduce_max_sync(kFullWarp, index() - 10);
  least[index()] = __reduce_min_sync(kFullWarp, index() - 10);
}

TEST(SimtWarp, Reductions) {
  std::vector<int> sum(32), most(32), least(32);
  ASSERT_EQ(launch<reduce_kernel>({1, 32}, sum.data(), most.data(), least.data()), cudaSuccess);
  EXPECT_EQ(sum, std::vector<int>(32, 496 - 320));
  EXPECT_EQ(most, std::vector<int>(32, 21));
  EXPECT_EQ(least, std::vector<int>(32, -10));
}

__global__ void syncwarp_kernel(int* out) {
  QTUNE_SHARED(int, values, 64);
  const int i = index(), lane = i % 32;
  for (int step = 0; step < 3; ++step) {
    values[i] = i + step;
    __syncwarp();
    out[i] = values[i - lane + (lane + 1) % 32];
    __syncwarp();
  }
}

TEST(SimtWarp, SyncwarpOrdersSharedMemoryWithinAWarp) {
  simt::for_each_order([] {
    std::vector<int> out(64);
    ASSERT_EQ(launch<syncwarp_kernel>({1, 64}, out.data()), cudaSuccess);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], i / 32 * 32 + (i + 1) % 32 + 2);
  });
}

__global__ void half_warps_kernel(int* out) {
  QTUNE_SHARED(int, values, 32);
  const int i = index();
  values[i] = i;
  __syncwarp(i < 16 ? 0x0000ffffu : 0xffff0000u);
  out[i] = values[(i + 16) % 32];  // the other half's
}

TEST(SimtWarp, SyncwarpOfAHalfOrdersNothingOfTheOther) {
  simt::for_each_order([] {
    std::vector<int> out(32);
    simt::FaultCapture capture;
    EXPECT_EQ(launch<half_warps_kernel>({1, 32}, out.data()), cudaErrorLaunchFailure);
    ASSERT_EQ(capture.messages().size(), 1u);
  });
}

__global__ void activemask_kernel(int* total) {
  // One atomic for all lanes that happen to come together: right for any set that __activemask may name.
  const unsigned mask = __activemask();
  const int leader = __ffs(static_cast<int>(mask)) - 1;
  if (index() % 32 == leader) atomicAdd(total, __popc(mask));
}

TEST(SimtWarp, ActivemaskNamesTheCaller) {
  int total = 0;
  ASSERT_EQ(launch<activemask_kernel>({2, 48}, &total), cudaSuccess);
  EXPECT_EQ(total, 96);
}

}  // namespace
}  // namespace qtune
