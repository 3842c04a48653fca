// Faults of memory that the emulation is there to find, each planted in a small kernel: the message must name the
// fault, the kernel, the block and thread, and the line. One order of threads alone would hide some, so all run in
// several.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/device.h"
#include "simt/faults_of.h"
#include "simt/poison.h"

#if defined(__SANITIZE_ADDRESS__)
#define QTUNE_TEST_ASAN 1
#else
#define QTUNE_TEST_ASAN 0
#endif

namespace qtune {
namespace {

using simt::faults_of;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

__device__ int index() { return static_cast<int>(threadIdx.x); }

__global__ void missing_barrier_kernel(int* out) {
  QTUNE_SHARED(int, values, 64);
  values[index()] = index();
  out[index()] = values[63 - index()];
}

TEST(PlantedMemoryBug, MissingBarrier) {
  auto out = simt::poisoned<int>(64);
  for (const std::string& message : faults_of<missing_barrier_kernel>({1, 64}, out.data())) {
    // A thread whose partner has not written yet reads what nobody wrote; else it races with the partner.
    EXPECT_THAT(message, AnyOf(HasSubstr("uninitialised shared memory: byte"), HasSubstr("race on shared memory: ")));
    EXPECT_THAT(message, AllOf(HasSubstr("of values"), HasSubstr("kernel missing_barrier_kernel, block (0, 0, 0)"),
                               HasSubstr("planted_memory_bugs_test.cpp:")));
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

TEST(PlantedMemoryBug, SharedMemoryWrittenAgainWithoutABarrier) {
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

TEST(PlantedMemoryBug, ShuffleTakenForAMemoryBarrier) {
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

TEST(PlantedMemoryBug, WriteAfterReadsWithinAWarp) {
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

TEST(PlantedMemoryBug, WriteAfterAReadByAnotherWarp) {
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

TEST(PlantedMemoryBug, WarpWritesAndReadsAfterItsSyncwarp) {
  auto out = simt::poisoned<int>(32);
  for (const std::string& message : faults_of<after_syncwarp_kernel>({1, 32}, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("of values")));
  }
}

__global__ void two_writers_kernel() {
  QTUNE_SHARED(int, flag, 1);
  if (index() % 32 == 0) flag[0] = 1;  // the same value: still not promised by CUDA
}

TEST(PlantedMemoryBug, TwoThreadsWriteTheSameElement) {
  for (const std::string& message : faults_of<two_writers_kernel>({1, 64})) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: this thread writes byte 0 of flag, which thread ("),
                               HasSubstr(") wrote at tests/simt/planted_memory_bugs_test.cpp:")));
  }
}

__global__ void plain_add_kernel() {
  QTUNE_SHARED(int, counter, 1);
  if (index() == 0) counter[0] = 0;
  __syncthreads();
  counter[0] += 1;
}

TEST(PlantedMemoryBug, PlainAddWhereAnAtomicIsNeeded) {
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

TEST(PlantedMemoryBug, AtomicAndPlainAddMixed) {
  for (const std::string& message : faults_of<mixed_add_kernel>({1, 64})) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on shared memory: "), HasSubstr("atomically")));
  }
}

__global__ void past_the_end_kernel(int count) {
  QTUNE_SHARED(float, sums, 32);
  for (int i = index(); i <= count; i += 32) sums[i] = 0;
}

TEST(PlantedMemoryBug, SharedIndexOnePastTheEnd) {
  for (const std::string& message : faults_of<past_the_end_kernel>({1, 32}, 32)) {
    EXPECT_THAT(message,
                AllOf(HasSubstr("shared index out of bounds: bytes 128 to 131 of sums, which has 128 bytes"),
                      HasSubstr("thread (0, 0, 0) of (32, 1, 1)"), HasSubstr("planted_memory_bugs_test.cpp:")));
  }
}

__global__ void before_the_begin_kernel() {
  QTUNE_DYNAMIC_SHARED(int, tile);
  tile[index() - 1] = 0;
}

TEST(PlantedMemoryBug, DynamicSharedIndexBeforeTheBegin) {
  for (const std::string& message : faults_of<before_the_begin_kernel>({1, 32, 128})) {
    EXPECT_THAT(message, HasSubstr("shared index out of bounds: bytes -4 to -1 of tile, which has 128 bytes"));
  }
}

__global__ void too_little_dynamic_memory_kernel() {
  QTUNE_DYNAMIC_SHARED(float, tile);
  tile[index()] = 0;
}

TEST(PlantedMemoryBug, LaunchWithTooLittleDynamicSharedMemory) {
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

TEST(PlantedMemoryBug, UnwrittenSharedMemoryRead) {
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

TEST(PlantedMemoryBug, SharedMemoryOfAnEarlierBlockRead) {
  for (const std::string& message : faults_of<contents_of_last_block_kernel>({2, 32})) {
    EXPECT_THAT(message, AllOf(HasSubstr("uninitialised shared memory"), HasSubstr("block (1, 0, 0) of (2, 1, 1)")));
  }
}

template <class T>
__global__ void copy_too_far_kernel(const T* in, T* out, int64_t count) {
  for (int64_t i = index(); i <= count; i += blockDim.x) out[i] = in[i];
}

TEST(PlantedMemoryBug, GlobalIndexOnePastTheEndIsSeenByAddressSanitizer) {
  if (!QTUNE_TEST_ASAN) GTEST_SKIP() << "AddressSanitizer is off in this build";
  std::vector<float> in(100, 1.0f), out(100);
  EXPECT_DEATH(launch<copy_too_far_kernel<float>>({1, 32}, in.data(), out.data(), 100), "heap-buffer-overflow");
}

__global__ void vector_load_kernel(const float* in, float* out) {
  out[index()] = reinterpret_cast<const float4*>(in)[index()].x;
}

TEST(PlantedMemoryBug, MisalignedVectorLoadIsSeenByUndefinedBehaviorSanitizer) {
  if (!QTUNE_TEST_ASAN) GTEST_SKIP() << "the sanitizers are off in this build";
  std::vector<float> in(100), out(8);
  EXPECT_DEATH(launch<vector_load_kernel>({1, 8}, in.data() + 1, out.data()), "misaligned address");
}

}  // namespace
}  // namespace qtune
