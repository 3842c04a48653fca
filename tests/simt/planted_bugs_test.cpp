// Faults of barriers and warp collectives, each planted in a small kernel, and what a fault leaves behind. As in
// planted_memory_bugs_test.cpp, the message must name the fault and where it is.
#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "simt/faults_of.h"

namespace qtune {
namespace {

using simt::faults_of;
using testing::AllOf;
using testing::HasSubstr;

__device__ int index() { return static_cast<int>(threadIdx.x); }

__global__ void divergent_barrier_kernel() {
  if (index() < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

TEST(PlantedBug, BarrierInTwoBranches) {
  for (const std::string& message : faults_of<divergent_barrier_kernel>({1, 64})) {
    EXPECT_THAT(message, AllOf(HasSubstr("divergent barrier: this thread came to __syncthreads while thread ("),
                               HasSubstr("waits in __syncthreads at tests/simt/planted_bugs_test.cpp:")));
  }
}

__global__ void early_exit_kernel(int count) {
  if (index() >= count) return;
  __syncthreads();
}

TEST(PlantedBug, ThreadLeavesBeforeABarrier) {
  for (const std::string& message : faults_of<early_exit_kernel>({1, 64}, 50)) {
    EXPECT_THAT(message, AllOf(HasSubstr("divergent barrier: "), HasSubstr("left the kernel"),
                               HasSubstr("kernel early_exit_kernel")));
  }
}

__global__ void mask_without_self_kernel() { __shfl_xor_sync(0x0000ffffu, 1, 1); }

TEST(PlantedBug, WarpMaskWithoutTheCaller) {
  for (const std::string& message : faults_of<mask_without_self_kernel>({1, 32})) {
    EXPECT_THAT(message, AllOf(HasSubstr("warp mask: __shfl_xor_sync with mask 0x0000ffff does not name lane "),
                               HasSubstr("which called it")));
  }
}

__global__ void mask_too_wide_kernel() {
  if (index() < 16) __shfl_xor_sync(kFullWarp, 1, 1);
}

TEST(PlantedBug, WarpMaskNamesALaneThatLeaves) {
  for (const std::string& message : faults_of<mask_too_wide_kernel>({1, 32})) {
    EXPECT_THAT(message, AllOf(HasSubstr("warp mask: "), HasSubstr("left the kernel")));
  }
}

__global__ void partial_warp_kernel() { __syncwarp(); }

TEST(PlantedBug, WarpMaskNamesALaneTheBlockDoesNotHave) {
  for (const std::string& message : faults_of<partial_warp_kernel>({1, 40})) {
    EXPECT_THAT(message, AllOf(HasSubstr("warp mask: __syncwarp with mask 0xffffffff names lane 8"),
                               HasSubstr("which the block does not have")));
  }
}

__global__ void lane_elsewhere_kernel() {
  if (index() < 16) __shfl_xor_sync(kFullWarp, 1, 1);
  __syncthreads();
}

TEST(PlantedBug, WarpMaskNamesALaneThatWaitsElsewhereIsADeadlock) {
  for (const std::string& message : faults_of<lane_elsewhere_kernel>({1, 32})) {
    EXPECT_THAT(message,
                AllOf(HasSubstr("deadlock: no thread can go on"),
                      HasSubstr("threads 0-15 wait in __shfl_xor_sync with mask 0xffffffff at tests/simt/planted_bugs"),
                      HasSubstr("threads 16-31 wait in __syncthreads at tests/simt/planted_bugs"),
                      HasSubstr("kernel lane_elsewhere_kernel, block (0, 0, 0)")));
  }
}

__global__ void different_masks_kernel() { __ballot_sync(index() < 31 ? kFullWarp : 0x80000001u, 1); }

TEST(PlantedBug, LanesWithDifferentMasksAreADeadlock) {
  for (const std::string& message : faults_of<different_masks_kernel>({1, 32})) {
    EXPECT_THAT(message,
                AllOf(HasSubstr("deadlock"), HasSubstr("threads 0-30 wait in __ballot_sync with mask 0xffffff"),
                      HasSubstr("threads 31-31 wait in __ballot_sync with mask 0x80000001")));
  }
}

__global__ void different_collectives_kernel() {
  if (index() < 16) {
    __any_sync(kFullWarp, 1);
  } else {
    __all_sync(kFullWarp, 1);
  }
}

TEST(PlantedBug, LanesInDifferentCollectivesAreADeadlock) {
  for (const std::string& message : faults_of<different_collectives_kernel>({1, 32})) {
    EXPECT_THAT(message, AllOf(HasSubstr("deadlock"), HasSubstr("threads 0-15 wait in __any_sync with mask 0xffffffff"),
                               HasSubstr("threads 16-31 wait in __all_sync with mask 0xffffffff")));
  }
}

__global__ void unnamed_source_kernel() {
  if (index() < 16) __shfl_sync(0x0000ffffu, 1, 20);
}

TEST(PlantedBug, ShuffleFromALaneOutsideTheMask) {
  for (const std::string& message : faults_of<unnamed_source_kernel>({1, 32})) {
    EXPECT_THAT(message, HasSubstr("warp mask: __shfl_sync reads lane 20, which the mask does not name"));
  }
}

__global__ void throwing_kernel() { throw std::runtime_error("a lookup failed"); }

TEST(PlantedBug, Exception) {
  for (const std::string& message : faults_of<throwing_kernel>({1, 32})) {
    EXPECT_THAT(message, HasSubstr("exception in a kernel: a lookup failed"));
  }
}

TEST(PlantedBug, WithoutACaptureTheTestFails) {
  // What an ordinary kernel test sees.
  EXPECT_NONFATAL_FAILURE((launch<early_exit_kernel>({1, 64}, 50)), "divergent barrier");
}

struct Counted {
  explicit Counted(int* number) : count(number) { ++*count; }
  ~Counted() { --*count; }
  int* count;
};

__global__ void counted_kernel(int* alive, bool deadlock) {
  const Counted counted(alive);
  if (index() == 10) __syncthreads();
  if (index() == 20 && !deadlock) __trap();
  __shfl_sync(kFullWarp, 1, 0);
}

TEST(PlantedBug, ThreadsLeaveTheirStacksCleanAfterAFault) {
  for (const bool deadlock : {false, true}) {
    int alive = 0;
    for (const std::string& message : faults_of<counted_kernel>({1, 32}, &alive, deadlock)) {
      EXPECT_THAT(message, HasSubstr(deadlock ? "deadlock" : "__trap"));
    }
    EXPECT_EQ(alive, 0);
  }
}

TEST(PlantedBug, NextLaunchIsUntouched) {
  faults_of<lane_elsewhere_kernel>({1, 32});
  EXPECT_EQ(launch<early_exit_kernel>({3, 64}, 64), cudaSuccess);
}

}  // namespace
}  // namespace qtune
