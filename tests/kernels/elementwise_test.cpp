#include "kernels/elementwise.h"

#include "kernel_test_support.h"
#include "kernels/counter_rng.h"
#include "simt/orders.h"

namespace qtune {
namespace {

constexpr int64_t kFlatSizes[] = {0, 1, 7, 8, 9, 2047, 2049, 70001};
constexpr MatrixSize kSizes[] = {{0, 8}, {1, 1}, {5, 7}, {6, 64}, {133, 331}, {2, 2056}, kManyRows, kVeryManyRows};

template <class T>
struct ElementwiseKernel : testing::Test {};
TYPED_TEST_SUITE(ElementwiseKernel, ComputeTypes, ComputeTypeNames);

/// Calls body(size, shift) for flat arrays.
template <class Body>
void for_flat_sizes(Body body) {
  for (const int64_t size : kFlatSizes) {
    for (const int64_t shift : {0, 1, 2, 3, 4}) {
      SCOPED_TRACE(testing::Message() << size << " elements, shift " << shift);
      body(size, shift);
    }
  }
}

TEST(ConvertKernel, RoundsToTheNearestAndTiesToEven) {
  // Between 1 and the next bfloat16, 1 + 2^-7, lies the tie 1 + 2^-8; above it the tie 1 + 3 * 2^-8.
  const std::vector<float> from{1.00390625f, 1.01171875f, 1.0039064f, -0.0f, 3.3961775e38f, INFINITY, NAN};
  const std::vector<double> expected{1.0, 1.015625, 1.0078125, 0.0, INFINITY, INFINITY};
  Buffer<Bf16> to(7);
  ASSERT_EQ(launch_convert(from.data(), to.data(), 7, nullptr), cudaSuccess);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(widen(to.data()[i]), expected[i]) << from[i];
  EXPECT_TRUE(std::signbit(widen(to.data()[3])));
  EXPECT_TRUE(std::isnan(widen(to.data()[6])));
}

TEST(ConvertKernel, ConvertsAllSizesBothWays) {
  for_flat_sizes([](int64_t size, int64_t shift) {
    Buffer<float> from(random_values<float>(size, 1), shift_of(shift, 0)), back(size, shift_of(shift, 1));
    Buffer<Bf16> to(size, shift_of(shift, 2));
    ASSERT_EQ(launch_convert(from.data(), to.data(), size, nullptr), cudaSuccess);
    ASSERT_EQ(launch_convert(to.data(), back.data(), size, nullptr), cudaSuccess);
    std::vector<Bf16> truth;
    for (const float v : from.values()) truth.push_back(narrow<Bf16>(v));
    EXPECT_TRUE(same_bits(to.values(), truth));
    EXPECT_EQ(widened(back.values()), widened(truth));
  });
}

TEST(ConvertKernel, WalksMoreElementsThanAGridHasThreads) {
  const int64_t size = 530'001;  // one by one: 2,048 blocks of 256 take 524,288
  Buffer<float> from(random_values<float>(size, 1), 1);
  Buffer<Bf16> to(size, 1);
  ASSERT_EQ(launch_convert(from.data(), to.data(), size, nullptr), cudaSuccess);
  EXPECT_EQ(simt::first_poisoned(to.values()), -1);
}

TYPED_TEST(ElementwiseKernel, AccumulateAddsInFloat32) {
  for_flat_sizes([](int64_t size, int64_t shift) {
    Buffer<TypeParam> addend(random_values<TypeParam>(size, 1), shift_of(shift, 0));
    Buffer<float> sum(random_values<float>(size, 2), shift_of(shift, 1));
    std::vector<float> truth = sum.values();
    for (size_t i = 0; i < truth.size(); ++i) truth[i] += static_cast<float>(widen(addend.data()[i]));
    ASSERT_EQ(launch_accumulate<TypeParam>(addend.data(), sum.data(), size, nullptr), cudaSuccess);
    EXPECT_TRUE(same_bits(sum.values(), truth));
  });
}

TYPED_TEST(ElementwiseKernel, DropoutDrawsAsTheHostsGenerator) {
  for_flat_sizes([](int64_t size, int64_t shift) {
    Buffer<TypeParam> x(random_values<TypeParam>(size, 1), shift_of(shift, 0)), y(size, shift_of(shift, 1));
    ASSERT_EQ(launch_dropout<TypeParam>({size, x.data(), y.data(), 0.3, 17, 29}, nullptr), cudaSuccess);
    std::vector<double> truth;
    CounterRng rng(17, 29);
    uint64_t draw = 0;
    for (int64_t i = 0; i < size; ++i) {
      draw = i % 2 == 0 ? rng.next() : draw >> 32;
      const bool dropped = static_cast<double>(static_cast<uint32_t>(draw)) < std::floor(0.3 * 0x1p32);
      truth.push_back(dropped ? 0 : widen(x.data()[i]) / 0.7);
    }
    EXPECT_TRUE(all_close(y.values(), truth));
    ASSERT_EQ(launch_dropout<TypeParam>({size, x.data(), x.data(), 0.3, 17, 29}, nullptr), cudaSuccess);
    EXPECT_TRUE(same_bits(x.values(), y.values()));
  });
}

TYPED_TEST(ElementwiseKernel, DropoutOfProbabilityZeroChangesNothing) {
  Buffer<TypeParam> x(random_values<TypeParam>(100, 1)), y(100);
  ASSERT_EQ(launch_dropout<TypeParam>({100, x.data(), y.data(), 0.0, 1, 2}, nullptr), cudaSuccess);
  EXPECT_TRUE(same_bits(y.values(), x.values()));
}

TEST(CounterRng, DeviceFunctionsAreTheHostsGenerator) {
  for (const uint64_t seed : {uint64_t{0}, uint64_t{42}, ~uint64_t{0}}) {
    for (const uint64_t stream : {uint64_t{0}, uint64_t{7}, uint64_t{1} << 63}) {
      CounterRng rng(seed, stream, 5);
      for (uint64_t i = 5; i < 9; ++i) EXPECT_EQ(counter_value(counter_key(seed, stream), i), rng.next());
    }
  }
}

TYPED_TEST(ElementwiseKernel, AddBiasRoundsOnce) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, o = size.columns;
      Buffer<TypeParam> y(random_values<TypeParam>(n * o, 1), shift_of(shift, 0));
      Buffer<float> bias(random_values<float>(o, 2), shift_of(shift, 1));
      std::vector<double> truth = widened(y.values());
      for (int64_t i = 0; i < n * o; ++i) truth[static_cast<size_t>(i)] += widen(bias.data()[i % o]);
      ASSERT_EQ(launch_add_bias<TypeParam>({n, o, bias.data(), y.data()}, nullptr), cudaSuccess);
      EXPECT_TRUE(all_close(y.values(), truth));
    }
  }
}

TYPED_TEST(ElementwiseKernel, BiasGradientAddsAllRows) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, o = size.columns;
      Buffer<TypeParam> dy(random_values<TypeParam>(n * o, 1), shift_of(shift, 0));
      Buffer<float> dbias(random_values<float>(o, 2), shift_of(shift, 1)),
          workspace(bias_gradient_workspace(n, o), shift_of(shift, 2));
      std::vector<double> truth = widened(dbias.values());
      for (int64_t i = 0; i < n * o; ++i) truth[static_cast<size_t>(i % o)] += widen(dy.data()[i]);
      ASSERT_EQ(launch_bias_gradient<TypeParam>({n, o, dy.data(), dbias.data(), workspace.data()}, nullptr),
                cudaSuccess);
      EXPECT_TRUE(all_close(dbias.values(), truth));
    }
  }
}

TEST(BiasGradientKernel, GivesTheSameBitsInAnyOrderOfThreads) {
  const int64_t n = 500, o = 66;
  std::vector<std::vector<float>> runs;
  simt::for_each_order([&] {
    Buffer<float> dy(random_values<float>(n * o, 1)), dbias(random_values<float>(o, 2));
    Buffer<float> workspace(bias_gradient_workspace(n, o));
    ASSERT_EQ(launch_bias_gradient<float>({n, o, dy.data(), dbias.data(), workspace.data()}, nullptr), cudaSuccess);
    runs.push_back(dbias.values());
    EXPECT_TRUE(same_bits(runs.back(), runs.front()));
  });
}

}  // namespace
}  // namespace qtune
