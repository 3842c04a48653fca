// Shared memory, atomics and small types of the emulation, used rightly: none of this may be called a fault.
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/device.h"
#include "simt/orders.h"
#include "simt/poison.h"

namespace qtune {
namespace {

__device__ int index() { return static_cast<int>(threadIdx.x); }

template <class T>
__global__ void shared_atomics_kernel(T* out) {
  QTUNE_SHARED(T, sum, 1);
  if (index() == 0) sum[0] = 0;
  __syncthreads();
  atomicAdd(&sum[0], static_cast<T>(index()));
  __syncthreads();
  if (index() == 0) atomicAdd(out, sum[0]);
}

template <class T>
void expect_atomic_sum() {
  simt::for_each_order([] {
    T out = 0;
    ASSERT_EQ(launch<shared_atomics_kernel<T>>({3, 64}, &out), cudaSuccess);
    EXPECT_EQ(out, static_cast<T>(3 * 2016));
  });
}

TEST(SimtAtomics, AddInSharedAndGlobalMemory) {
  expect_atomic_sum<int>();
  expect_atomic_sum<unsigned>();
  expect_atomic_sum<unsigned long long>();
  expect_atomic_sum<float>();
  expect_atomic_sum<double>();
}

__global__ void other_atomics_kernel(int* most, int* least, unsigned* bits, int* taken, int* winners, int* last) {
  atomicMax(most, index());
  atomicMin(least, index());
  atomicOr(bits, 1u << index());
  if (atomicCAS(taken, 0, 1) == 0) atomicAdd(winners, 1);
  if (atomicExch(last, index()) == -1) atomicAdd(winners, 100);
}

TEST(SimtAtomics, EachReturnsTheOldValue) {
  simt::for_each_order([] {
    int most = -5, least = 100, taken = 0, winners = 0, last = -1;
    unsigned bits = 0;
    ASSERT_EQ(launch<other_atomics_kernel>({1, 32}, &most, &least, &bits, &taken, &winners, &last), cudaSuccess);
    EXPECT_EQ(most, 31);
    EXPECT_EQ(least, 0);
    EXPECT_EQ(bits, 0xffffffffu);
    EXPECT_EQ(taken, 1);
    EXPECT_EQ(winners, 101);
    EXPECT_TRUE(last >= 0 && last < 32);
  });
}

struct Pair {
  float first, second;
};

__device__ Pair take(SharedPtr<Pair> pairs, int i) { return pairs[i]; }

__global__ void struct_kernel(float* out) {
  QTUNE_SHARED(Pair, pairs, 32);
  pairs[index()] = Pair{static_cast<float>(index()), 1.0f};
  __syncthreads();
  const Pair other = take(pairs, 31 - index());
  out[index()] = other.first + other.second;
}

TEST(SimtShared, StructsAreReadAndWrittenWhole) {
  std::vector<float> out(32);
  ASSERT_EQ(launch<struct_kernel>({1, 32}, out.data()), cudaSuccess);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<float>(32 - i));
}

__global__ void divided_kernel(float* out, int n) {
  QTUNE_DYNAMIC_SHARED(float, floats);
  const auto halves = shared_cast<__nv_bfloat16>(floats + n);
  floats[index()] = static_cast<float>(index());
  halves[index()] = __float2bfloat16(2.0f * static_cast<float>(index()));  // neighbours write two halves of a word
  __syncthreads();
  const int i = n - 1 - index();
  out[index()] = floats[i] + __bfloat162float(halves[i]);
}

TEST(SimtShared, DynamicMemoryDividedBetweenTwoTypes) {
  simt::for_each_order([] {
    std::vector<float> out(64);
    ASSERT_EQ(launch<divided_kernel>({1, 64, 64 * (sizeof(float) + sizeof(__nv_bfloat16))}, out.data(), 64),
              cudaSuccess);
    for (int i = 0; i < 64; ++i) EXPECT_EQ(out[static_cast<size_t>(i)], static_cast<float>(3 * (63 - i)));
  });
}

__global__ void two_arrays_kernel(int* out) {
  QTUNE_SHARED(int, left, 32);
  QTUNE_SHARED(int, right, 32);
  left[index()] = 1;
  right[index()] = 2;
  __syncthreads();
  out[index()] = left[31 - index()] * 10 + right[31 - index()];
}

TEST(SimtShared, ArraysDoNotOverlap) {
  std::vector<int> out(32);
  ASSERT_EQ(launch<two_arrays_kernel>({1, 32}, out.data()), cudaSuccess);
  EXPECT_EQ(out, std::vector<int>(32, 12));
}

__global__ void broadcast_kernel(float* out) {
  QTUNE_SHARED(float, total, 1);
  for (int round = 0; round < 3; ++round) {
    if (index() == 0) total[0] = static_cast<float>(round);
    __syncthreads();
    out[index()] = total[0];
    __syncthreads();
  }
}

TEST(SimtShared, ManyReadersBetweenTwoBarriersAreNoRace) {
  simt::for_each_order([] {
    std::vector<float> out(96);
    ASSERT_EQ(launch<broadcast_kernel>({1, 96}, out.data()), cudaSuccess);
    EXPECT_EQ(out, std::vector<float>(96, 2.0f));
  });
}

template <class T, class V>
__global__ void vector_copy_kernel(const T* in, T* out) {
  reinterpret_cast<V*>(out)[index()] = reinterpret_cast<const V*>(in)[index()];
}

TEST(SimtGlobal, VectorLoadsAndStores) {
  std::vector<float> in(64), out(64);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
  ASSERT_EQ((launch<vector_copy_kernel<float, float4>>({1, 16}, in.data(), out.data())), cudaSuccess);
  EXPECT_EQ(out, in);
}

__global__ void grid_stride_kernel(int* counts, int64_t n) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x) {
    ++counts[i];
  }
}

TEST(SimtGlobal, GridStrideVisitsEachElementOnce) {
  std::vector<int> counts(1000);
  ASSERT_EQ(launch<grid_stride_kernel>({3, 48}, counts.data(), 1000), cudaSuccess);
  EXPECT_EQ(counts, std::vector<int>(1000, 1));
}

TEST(SimtPoison, FindsTheFirstValueNotWritten) {
  auto values = simt::poisoned<__nv_bfloat16>(4);
  EXPECT_TRUE(std::isnan(__bfloat162float(values[2])));
  values[0] = values[1] = __float2bfloat16(1.0f);
  EXPECT_EQ(simt::first_poisoned(values), 2);
  values[2] = values[3] = __float2bfloat16(0.0f);
  EXPECT_EQ(simt::first_poisoned(values), -1);
}

}  // namespace
}  // namespace qtune
