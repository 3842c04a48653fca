// The faults the emulation is there to find, each planted in a small kernel: it must name the fault, the kernel, the
// block and thread, and the line. One order of threads alone would hide some of them, so all run in several.
#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "simt/orders.h"
#include "simt/poison.h"

#if defined(__SANITIZE_ADDRESS__)
#define QTUNE_TEST_ASAN 1
#else
#define QTUNE_TEST_ASAN 0
#endif

namespace qtune {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

/// Launches in each order, and returns the one message of each.
template <auto kernel, class... Args>
std::vector<std::string> faults_of(const LaunchConfig& config, Args... args) {
  std::vector<std::string> messages;
  simt::for_each_order([&] {
    simt::FaultCapture capture;
    EXPECT_EQ(launch<kernel>(config, args...), cudaErrorLaunchFailure);
    EXPECT_EQ(capture.messages().size(), 1u);
    messages.insert(messages.end(), capture.messages().begin(), capture.messages().end());
  });
  return messages;
}

__device__ int index() { return static_cast<int>(threadIdx.x); }

__global__ void missing_barrier_kernel(int* out) {
  QTUNE_SHARED(int, values, 64);
  values[index()] = index();
  out[index()] = values[63 - index()];
}

TEST(PlantedBug, MissingBarrier) {
  auto out = simt::poisoned<int>(64);
  for (const std::string& message : faults_of<missing_barrier_kernel>({1, 64}, out.data())) {
    // A thread whose partner has not written yet reads what nobody wrote; else it races with the partner.
    EXPECT_THAT(message, AnyOf(HasSubstr("uninitialised shared memory: byte"), HasSubstr("race on shared memory: ")));
    EXPECT_THAT(message, AllOf(HasSubstr("of values"), HasSubstr("kernel missing_barrier_kernel, block (0, 0, 0)"),
                               HasSubstr("planted_bugs_test.cpp:")));
  }
}

__global__ void missing_second_barrier_kernel(float* out) {
  QTUNE_SHARED(float, total, 1);
  for (int round = 0; round < 3; ++round) {
    if (index() == 0) total[0] = static_cast<float>(round);
    __syncthreads();
    out[index()] = total[0];  // the next round writes while some still read
  }
}

TEST(PlantedBug, SharedMemoryWrittenAgainWithoutABarrier) {
  auto out = simt::poisoned<float>(64);
  for (const std::string& message : faults_of<missing_second_barrier_kernel>({1, 64}, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: this thread "), HasSubstr("of total"),
                               HasSubstr("no barrier in between"), HasSubstr("kernel missing_second_barrier_kernel")));
  }
}

__global__ void warp_without_syncwarp_kernel(int* out) {
  QTUNE_SHARED(int, values, 32);
  values[index()] = index();
  __shfl_sync(kFullWarp, 0, 0);  // lanes meet here, but memory is not ordered
  out[index()] = values[31 - index()];
}

TEST(PlantedBug, ShuffleTakenForAMemoryBarrier) {
  auto out = simt::poisoned<int>(32);
  for (const std::string& message : faults_of<warp_without_syncwarp_kernel>({1, 32}, out.data())) {
    EXPECT_THAT(message, HasSubstr("race on shared memory: this thread reads"));
  }
}

__global__ void reader_of_own_warp_kernel(int* out) {
  QTUNE_SHARED(int, value, 1);
  if (index() == 0) value[0] = 1;
  __syncthreads();
  if (index() >= 40 && index() < 44) out[index()] = value[0];
  if (index() == 40) value[0] = 2;  // three lanes of its warp, and no other thread, may not have read yet
}

TEST(PlantedBug, WriteAfterReadsWithinAWarp) {
  auto out = simt::poisoned<int>(64);
  for (const std::string& message : faults_of<reader_of_own_warp_kernel>({1, 64}, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("of value")));
  }
}

__global__ void reader_of_other_warp_kernel(int* out) {
  QTUNE_SHARED(int, value, 1);
  if (index() == 0) value[0] = 1;
  __syncthreads();
  if (index() == 0 || index() == 40) out[index()] = value[0];
  if (index() == 0) value[0] = 2;  // the last reader itself, in some orders
}

TEST(PlantedBug, WriteAfterAReadByAnotherWarp) {
  auto out = simt::poisoned<int>(64);
  for (const std::string& message : faults_of<reader_of_other_warp_kernel>({1, 64}, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("of value")));
  }
}

__global__ void after_syncwarp_kernel(int* out) {
  QTUNE_SHARED(int, values, 32);
  values[index()] = 0;
  __syncwarp();
  values[index()] = index();
  out[index()] = values[31 - index()];
}

TEST(PlantedBug, WarpWritesAndReadsAfterItsSyncwarp) {
  auto out = simt::poisoned<int>(32);
  for (const std::string& message : faults_of<after_syncwarp_kernel>({1, 32}, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("of values")));
  }
}

__global__ void two_writers_kernel() {
  QTUNE_SHARED(int, flag, 1);
  if (index() % 32 == 0) flag[0] = 1;  // the same value: still not promised by CUDA
}

TEST(PlantedBug, TwoThreadsWriteTheSameElement) {
  for (const std::string& message : faults_of<two_writers_kernel>({1, 64})) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: this thread writes byte 0 of flag, which thread ("),
                               HasSubstr(") wrote at tests/simt/planted_bugs_test.cpp:")));
  }
}

__global__ void plain_add_kernel() {
  QTUNE_SHARED(int, counter, 1);
  if (index() == 0) counter[0] = 0;
  __syncthreads();
  counter[0] += 1;
}

TEST(PlantedBug, PlainAddWhereAnAtomicIsNeeded) {
  for (const std::string& message : faults_of<plain_add_kernel>({1, 64})) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("of counter")));
  }
}

__global__ void mixed_add_kernel() {
  QTUNE_SHARED(int, counter, 1);
  if (index() == 0) counter[0] = 0;
  __syncthreads();
  if (index() == 40) {
    counter[0] += 1;
  } else {
    atomicAdd(&counter[0], 1);
  }
}

TEST(PlantedBug, AtomicAndPlainAddMixed) {
  for (const std::string& message : faults_of<mixed_add_kernel>({1, 64})) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("atomically")));
  }
}

__global__ void past_the_end_kernel(int count) {
  QTUNE_SHARED(float, sums, 32);
  for (int i = index(); i <= count; i += 32) sums[i] = 0;
}

TEST(PlantedBug, SharedIndexOnePastTheEnd) {
  for (const std::string& message : faults_of<past_the_end_kernel>({1, 32}, 32)) {
    EXPECT_THAT(message, AllOf(HasSubstr("shared index out of bounds: bytes 128 to 131 of sums, which has 128 bytes"),
                               HasSubstr("thread (0, 0, 0) of (32, 1, 1)"), HasSubstr("planted_bugs_test.cpp:")));
  }
}

__global__ void before_the_begin_kernel() {
  QTUNE_DYNAMIC_SHARED(int, tile);
  tile[index() - 1] = 0;
}

TEST(PlantedBug, DynamicSharedIndexBeforeTheBegin) {
  for (const std::string& message : faults_of<before_the_begin_kernel>({1, 32, 128})) {
    EXPECT_THAT(message, HasSubstr("shared index out of bounds: bytes -4 to -1 of tile, which has 128 bytes"));
  }
}

__global__ void too_little_dynamic_memory_kernel() {
  QTUNE_DYNAMIC_SHARED(float, tile);
  tile[index()] = 0;
}

TEST(PlantedBug, LaunchWithTooLittleDynamicSharedMemory) {
  for (const std::string& message : faults_of<too_little_dynamic_memory_kernel>({1, 32, 31 * sizeof(float)})) {
    EXPECT_THAT(message, HasSubstr("shared index out of bounds: bytes 124 to 127 of tile"));
  }
}

__global__ void unwritten_kernel(float* out) {
  QTUNE_SHARED(float, sums, 32);
  if (index() % 32 == 0) sums[index() / 32] = 1;
  __syncthreads();
  if (index() < 32) out[index()] = sums[index()];  // two warps wrote two sums
}

TEST(PlantedBug, UnwrittenSharedMemoryRead) {
  auto out = simt::poisoned<float>(32);
  for (const std::string& message : faults_of<unwritten_kernel>({1, 64}, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("uninitialised shared memory: byte "), HasSubstr("of sums is read before")));
  }
}

__global__ void contents_of_last_block_kernel() {
  QTUNE_SHARED(int, flag, 1);
  if (blockIdx.x == 0 && index() == 0) flag[0] = 1;
  __syncthreads();
  if (flag[0] != 1) __trap();
}

TEST(PlantedBug, SharedMemoryOfAnEarlierBlockRead) {
  for (const std::string& message : faults_of<contents_of_last_block_kernel>({2, 32})) {
    EXPECT_THAT(message, AllOf(HasSubstr("uninitialised shared memory"), HasSubstr("block (1, 0, 0) of (2, 1, 1)")));
  }
}

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

template <class T>
__global__ void copy_too_far_kernel(const T* in, T* out, int64_t count) {
  for (int64_t i = index(); i <= count; i += blockDim.x) out[i] = in[i];
}

TEST(PlantedBug, GlobalIndexOnePastTheEndIsSeenByAddressSanitizer) {
  if (!QTUNE_TEST_ASAN) GTEST_SKIP() << "AddressSanitizer is off in this build";
  std::vector<float> in(100, 1.0f), out(100);
  EXPECT_DEATH(launch<copy_too_far_kernel<float>>({1, 32}, in.data(), out.data(), 100), "heap-buffer-overflow");
}

__global__ void vector_load_kernel(const float* in, float* out) {
  out[index()] = reinterpret_cast<const float4*>(in)[index()].x;
}

TEST(PlantedBug, MisalignedVectorLoadIsSeenByUndefinedBehaviorSanitizer) {
  if (!QTUNE_TEST_ASAN) GTEST_SKIP() << "the sanitizers are off in this build";
  std::vector<float> in(100), out(8);
  EXPECT_DEATH(launch<vector_load_kernel>({1, 8}, in.data() + 1, out.data()), "misaligned address");
}

TEST(PlantedBug, WithoutACaptureTheTestFails) {
  // What an ordinary kernel test sees.
  EXPECT_NONFATAL_FAILURE((launch<plain_add_kernel>({1, 64})), "race on shared memory");
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
  std::vector<float> in(100, 3.0f), out(100);
  EXPECT_EQ(launch<copy_too_far_kernel<float>>({1, 32}, in.data(), out.data(), 99), cudaSuccess);
  EXPECT_EQ(out, in);
}

}  // namespace
}  // namespace qtune
