// Races on global memory, each planted in a small kernel, and what looks like one and is none. This file alone of
// tests/simt is compiled so that its accesses are watched, as kernels/ are (tests/simt/instrumented_access.cpp).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
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

class GlobalRace : public testing::Test {
 protected:
  void SetUp() override {
#ifndef QTUNE_SIMT_WATCHED
    GTEST_SKIP() << "AddressSanitizer's build watches other things";
#endif
  }
};

/// No order of threads sees a fault.
template <auto kernel, class... Args>
void expect_clean(const LaunchConfig& config, Args... args) {
  simt::for_each_order([&] {
    simt::FaultCapture capture;
    EXPECT_EQ(launch<kernel>(config, args...), cudaSuccess) << testing::PrintToString(capture.messages());
  });
}

__global__ void sum_kernel(float* out) { *out += 1.0f; }

TEST_F(GlobalRace, SumOfAllThreadsWithoutAnAtomic) {
  float out = 0;
  for (const std::string& message : faults_of<sum_kernel>({1, 64}, &out)) {
    EXPECT_THAT(message, AllOf(HasSubstr("race on global memory: this thread reads"), HasSubstr("of its block wrote"),
                               HasSubstr("no barrier in between"), HasSubstr("kernel sum_kernel, block (0, 0, 0)")));
  }
}

__global__ void atomic_sum_kernel(float* out) { atomicAdd(out, 1.0f); }

TEST_F(GlobalRace, AtomicsDoNotRaceWithEachOther) {
  float out = 0;
  expect_clean<atomic_sum_kernel>({3, 64}, &out);
  EXPECT_EQ(out, 4 * 3 * 64) << "four orders";
}

__global__ void atomic_and_plain_kernel(int* out) {
  if (index() == 0) {
    out[1] = out[0];
  } else {
    atomicAdd(out, 1);
  }
}

TEST_F(GlobalRace, AtomicAgainstAPlainRead) {
  int out[2] = {0, 0};
  for (const std::string& message : faults_of<atomic_and_plain_kernel>({1, 64}, static_cast<int*>(out))) {
    EXPECT_THAT(message, HasSubstr("race on global memory"));
  }
}

__global__ void every_block_writes_kernel(int* out) {
  if (index() == 0) out[0] = static_cast<int>(blockIdx.x);
}

TEST_F(GlobalRace, TwoBlocksWriteOnePlace) {
  int out = 0;
  for (const std::string& message : faults_of<every_block_writes_kernel>({2, 32}, &out)) {
    EXPECT_THAT(message, AllOf(HasSubstr("this thread writes"), HasSubstr("thread (0, 0, 0) of block number 0 wrote"),
                               HasSubstr("nothing orders the blocks of a launch"), HasSubstr("block (1, 0, 0)")));
  }
}

__global__ void next_block_reads_kernel(const int* in, int* out) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[i + blockDim.x];
}

TEST_F(GlobalRace, ABlockReadsWhatAnotherWrites) {
  std::vector<int> values(3 * 32);
  for (const std::string& message :
       faults_of<next_block_reads_kernel>({2, 32}, static_cast<const int*>(values.data()), values.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("this thread writes"), HasSubstr("of block number 0 read")));
  }
}

__global__ void all_read_one_writes_kernel(int* value, int* out) {
  out[blockIdx.x * blockDim.x + threadIdx.x] = *value;
  __syncthreads();
  if (blockIdx.x == 1 && index() == 0) *value = 1;
}

TEST_F(GlobalRace, AllBlocksReadWhatOneThenWrites) {
  int value = 0;
  std::vector<int> out(64);
  for (const std::string& message : faults_of<all_read_one_writes_kernel>({2, 32}, &value, out.data())) {
    EXPECT_THAT(message, AllOf(HasSubstr("this thread writes"), HasSubstr("of block number 0 read")));
  }
}

__global__ void race_and_trap_kernel(int* out) {
  *out += 1;
  if (*out > 5) __trap();
}

TEST_F(GlobalRace, OnlyTheFirstFaultIsSaid) {
  int out = 0;
  EXPECT_EQ(faults_of<race_and_trap_kernel>({1, 64}, &out).size(), 4u) << "one a launch";
}

__global__ void exchange_kernel(int* values, int with_barrier) {
  values[index()] = index();
  if (with_barrier != 0) __syncthreads();
  const int other = values[63 - index()];
  if (with_barrier != 0) __syncthreads();
  values[index()] = other;
}

TEST_F(GlobalRace, ABarrierOrdersABlocksAccesses) {
  std::vector<int> values(64);
  expect_clean<exchange_kernel>({1, 64}, values.data(), 1);
  for (const std::string& message : faults_of<exchange_kernel>({1, 64}, values.data(), 0)) {
    EXPECT_THAT(message, HasSubstr("with no barrier in between"));
  }
}

__global__ void neighbour_lane_kernel(int* values, int with_syncwarp) {
  values[index()] = index();
  if (with_syncwarp != 0) {
    __syncwarp();
  } else {
    __shfl_xor_sync(0xffffffffu, 1, 1);
  }
  values[32 + index()] = values[index() ^ 1];
}

TEST_F(GlobalRace, SyncwarpOrdersAWarpsAccessesAndAShuffleDoesNot) {
  std::vector<int> values(64);
  expect_clean<neighbour_lane_kernel>({1, 32}, values.data(), 1);
  for (const std::string& message : faults_of<neighbour_lane_kernel>({1, 32}, values.data(), 0)) {
    EXPECT_THAT(message, HasSubstr("with no barrier in between"));
  }
}

template <class T>
__global__ void own_element_kernel(T* values) {
  values[blockIdx.x * blockDim.x + threadIdx.x] = static_cast<T>(index());
}

TEST_F(GlobalRace, NeighbouringElementsOfAnySizeAreApart) {
  std::vector<uint8_t> bytes(128);
  std::vector<uint16_t> halves(128);
  std::vector<double> doubles(128);
  expect_clean<own_element_kernel<uint8_t>>({2, 64}, bytes.data());
  expect_clean<own_element_kernel<uint16_t>>({2, 64}, halves.data());
  expect_clean<own_element_kernel<double>>({2, 64}, doubles.data());
}

__global__ void wide_and_narrow_kernel(float4* wide, uint8_t* narrow) {
  if (index() == 0) {
    *wide = {1, 2, 3, 4};
  } else {
    *narrow = 1;
  }
}

TEST_F(GlobalRace, AWideWriteMeetsAByteInItsMiddle) {
  alignas(16) float4 value{};
  for (const std::string& message :
       faults_of<wide_and_narrow_kernel>({1, 2}, &value, reinterpret_cast<uint8_t*>(&value) + 9)) {
    EXPECT_THAT(message, HasSubstr("race on global memory"));
  }
}

TEST_F(GlobalRace, LaunchesComeOneAfterTheOther) {
  int out = 0;
  for (int i = 0; i < 3; ++i) expect_clean<every_block_writes_kernel>({1, 32}, &out);
}

}  // namespace
}  // namespace qtune
