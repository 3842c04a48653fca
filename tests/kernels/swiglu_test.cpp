#include "kernels/swiglu.h"

#include "kernel_test_support.h"

namespace qtune {
namespace {

constexpr MatrixSize kSizes[] = {{0, 8}, {1, 1}, {3, 7}, {5, 64}, {7, 331}, {2, 2056}, kManyRows, kVeryManyRows};

template <class T>
struct SwigluKernel : testing::Test {};
TYPED_TEST_SUITE(SwigluKernel, ComputeTypes, ComputeTypeNames);

/// Gates of all sizes: the first row's are far out, where sigmoid is 0 and 1.
template <class T>
std::vector<T> make_gate_up(MatrixSize size) {
  std::vector<T> values = random_values<T>(size.rows * 2 * size.columns, 1, 4);
  if (size.rows == 0) return values;
  for (size_t j = 0; j < static_cast<size_t>(size.columns); ++j) values[j] = narrow<T>(widen(values[j]) * 40);
  return values;
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

TYPED_TEST(SwigluKernel, ForwardIsTheFloat64Loop) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, f = size.columns;
      Buffer<TypeParam> gate_up(make_gate_up<TypeParam>(size), shift_of(shift, 0)), h(n * f, shift_of(shift, 1));
      ASSERT_EQ(launch_swiglu<TypeParam>({n, f, gate_up.data(), h.data()}, nullptr), cudaSuccess);
      std::vector<double> truth;
      for (int64_t i = 0; i < n * f; ++i) {
        const TypeParam* gate = gate_up.data() + i / f * 2 * f + i % f;
        truth.push_back(widen(*gate) * sigmoid_of(widen(*gate)) * widen(gate[f]));
      }
      EXPECT_TRUE(all_close(h.values(), truth));
    }
  }
}

TYPED_TEST(SwigluKernel, BackwardIsTheFloat64LoopAndGivesTheForwardsBits) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, f = size.columns;
      Buffer<TypeParam> gate_up(make_gate_up<TypeParam>(size), shift_of(shift, 0)),
          dh(random_values<TypeParam>(n * f, 2), shift_of(shift, 1));
      Buffer<TypeParam> dgate_up(n * 2 * f, shift_of(shift, 2)), h(n * f, shift_of(shift, 3)),
          h_forward(n * f, shift_of(shift, 4));
      ASSERT_EQ(launch_swiglu<TypeParam>({n, f, gate_up.data(), h_forward.data()}, nullptr), cudaSuccess);
      ASSERT_EQ(
          launch_swiglu_backward<TypeParam>({n, f, dh.data(), gate_up.data(), dgate_up.data(), h.data()}, nullptr),
          cudaSuccess);
      EXPECT_TRUE(same_bits(h.values(), h_forward.values()));
      std::vector<double> truth;
      for (int64_t i = 0; i < n * 2 * f; ++i) {
        const int64_t row = i / (2 * f), j = i % f;
        const TypeParam* gate = gate_up.data() + row * 2 * f + j;
        const double g = widen(*gate), s = sigmoid_of(g), d = widen(dh.data()[row * f + j]);
        truth.push_back(i % (2 * f) < f ? d * widen(gate[f]) * s * (1 + g * (1 - s)) : d * g * s);
      }
      EXPECT_TRUE(all_close(dgate_up.values(), truth));
    }
  }
}

TYPED_TEST(SwigluKernel, BackwardInPlaceGivesTheSameBits) {
  const MatrixSize size{5, 72};
  const int64_t n = size.rows, f = size.columns;
  Buffer<TypeParam> gate_up(make_gate_up<TypeParam>(size)), dh(random_values<TypeParam>(n * f, 2));
  Buffer<TypeParam> dgate_up(n * 2 * f), h(n * f);
  ASSERT_EQ(launch_swiglu_backward<TypeParam>({n, f, dh.data(), gate_up.data(), dgate_up.data(), h.data()}, nullptr),
            cudaSuccess);
  ASSERT_EQ(launch_swiglu_backward<TypeParam>({n, f, dh.data(), gate_up.data(), gate_up.data(), dh.data()}, nullptr),
            cudaSuccess);
  EXPECT_TRUE(same_bits(gate_up.values(), dgate_up.values()));
  EXPECT_TRUE(same_bits(dh.values(), h.values()));
}

TYPED_TEST(SwigluKernel, EndsOfTheGateGiveFiniteNumbers) {
  using Values = std::vector<TypeParam>;
  const auto one = narrow<TypeParam>(1), two = narrow<TypeParam>(2), far = narrow<TypeParam>(1e4);
  Buffer<TypeParam> gate_up(Values{narrow<TypeParam>(-1e4), far, two, two}), dh(Values{one, one}), dgate_up(4), h(2);
  ASSERT_EQ(launch_swiglu_backward<TypeParam>({1, 2, dh.data(), gate_up.data(), dgate_up.data(), h.data()}, nullptr),
            cudaSuccess);
  EXPECT_EQ(widen(h.data()[0]), 0);
  EXPECT_TRUE(all_close(dgate_up.values(), {0, 2, 0, widen(far)}));
}

}  // namespace
}  // namespace qtune
