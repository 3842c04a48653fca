#include "kernels/rms_norm.h"

#include "kernel_test_support.h"
#include "simt/orders.h"

namespace qtune {
namespace {

constexpr double kEpsilon = 1e-5;
// 1028 and 4100 columns: packs beyond one and beyond all that a thread holds; 1027: the same one by one.
constexpr MatrixSize kSizes[] = {{0, 8},    {1, 1},    {3, 7},    {5, 64},  {37, 331},
                                 {2, 1027}, {2, 1028}, {2, 4100}, kManyRows};

template <class T>
struct RmsNormKernel : testing::Test {};
TYPED_TEST_SUITE(RmsNormKernel, ComputeTypes, ComputeTypeNames);

/// The truth of one forward.
struct Normed {
  std::vector<double> x_out, y, rstd;
};

Normed norm_in_float64(const std::vector<double>& x, const std::vector<double>& delta,
                       const std::vector<double>& weight, MatrixSize size) {
  Normed n{x, x, {}};
  for (size_t i = 0; i < delta.size(); ++i) n.x_out[i] += delta[i];
  const auto d = static_cast<size_t>(size.columns);
  for (size_t row = 0; row < static_cast<size_t>(size.rows); ++row) {
    double sum = 0;
    for (size_t j = 0; j < d; ++j) sum += n.x_out[row * d + j] * n.x_out[row * d + j];
    n.rstd.push_back(1 / std::sqrt(sum / static_cast<double>(d) + kEpsilon));
    for (size_t j = 0; j < d; ++j) n.y[row * d + j] = n.x_out[row * d + j] * n.rstd[row] * weight[j];
  }
  return n;
}

TYPED_TEST(RmsNormKernel, AddsAndNormsAsTheFloat64Loop) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, d = size.columns;
      Buffer<float> x(random_values<float>(n * d, 1), shift_of(shift, 0)),
          weight(random_values<float>(d, 2), shift_of(shift, 1));
      Buffer<TypeParam> delta(random_values<TypeParam>(n * d, 3), shift_of(shift, 2)), y(n * d, shift_of(shift, 3));
      Buffer<float> x_out(n * d, shift_of(shift, 4)), rstd(n, shift_of(shift, 5));
      ASSERT_EQ(launch_add_rms_norm<TypeParam>({n, d, x.data(), delta.data(), x_out.data(), weight.data(),
                                                static_cast<float>(kEpsilon), y.data(), rstd.data()},
                                               nullptr),
                cudaSuccess);
      const Normed truth =
          norm_in_float64(widened(x.values()), widened(delta.values()), widened(weight.values()), size);
      EXPECT_TRUE(all_close(x_out.values(), truth.x_out));
      EXPECT_TRUE(all_close(y.values(), truth.y));
      EXPECT_TRUE(all_close(rstd.values(), truth.rstd));
    }
  }
}

TYPED_TEST(RmsNormKernel, InPlaceAndWithoutDeltaGiveTheSameBits) {
  const int64_t n = 5, d = 1100;
  const std::vector<float> values = random_values<float>(n * d, 1);
  const std::vector<TypeParam> addend = random_values<TypeParam>(n * d, 3);
  Buffer<float> x(values), x_out(n * d), weight(random_values<float>(d, 2)), rstd(n);
  Buffer<TypeParam> delta(addend), y(n * d), y_in_place(n * d), y_without(n * d), y_again(n * d);
  const AddRmsNorm<TypeParam> args{n,     d,        x.data(),   delta.data(), x_out.data(), weight.data(),
                                   1e-5f, y.data(), rstd.data()};
  ASSERT_EQ(launch_add_rms_norm(args, nullptr), cudaSuccess);

  AddRmsNorm<TypeParam> without = args;
  without.x = x_out.data();
  without.delta = nullptr;
  without.x_out = nullptr;
  without.y = y_without.data();
  ASSERT_EQ(launch_add_rms_norm(without, nullptr), cudaSuccess);
  EXPECT_TRUE(same_bits(y_without.values(), y.values()));

  AddRmsNorm<TypeParam> in_place = args;
  in_place.x_out = x.data();
  in_place.y = y_in_place.data();
  ASSERT_EQ(launch_add_rms_norm(in_place, nullptr), cudaSuccess);
  EXPECT_TRUE(same_bits(y_in_place.values(), y.values()));
  EXPECT_TRUE(same_bits(x.values(), x_out.values()));

  ASSERT_EQ(launch_rms_norm_again<TypeParam>({n, d, x_out.data(), rstd.data(), weight.data(), y_again.data()}, nullptr),
            cudaSuccess);
  EXPECT_TRUE(same_bits(y_again.values(), y.values()));
}

TYPED_TEST(RmsNormKernel, NormsAgainInAllSizes) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, d = size.columns;
      Buffer<float> x(random_values<float>(n * d, 1), shift_of(shift, 0)),
          weight(random_values<float>(d, 2), shift_of(shift, 1));
      Buffer<float> rstd(random_values<float>(n, 4), shift_of(shift, 2));
      Buffer<TypeParam> y(n * d, shift_of(shift, 3));
      ASSERT_EQ(launch_rms_norm_again<TypeParam>({n, d, x.data(), rstd.data(), weight.data(), y.data()}, nullptr),
                cudaSuccess);
      std::vector<double> truth = widened(x.values());
      for (size_t i = 0; i < truth.size(); ++i) {
        truth[i] *= rstd.data()[i / static_cast<size_t>(d)] * widen(weight.data()[i % static_cast<size_t>(d)]);
      }
      EXPECT_TRUE(all_close(y.values(), truth));
    }
  }
}

/// What the backward adds, in float64.
struct Gradients {
  std::vector<double> dx, dweight;
};

template <class T>
void add_gradients_in_float64(Buffer<T>& dy, Buffer<float>& x, Buffer<float>& rstd, Buffer<float>& weight,
                              MatrixSize size, Gradients& out) {
  const auto d = static_cast<size_t>(size.columns);
  for (size_t row = 0; row < static_cast<size_t>(size.rows); ++row) {
    const double r = rstd.data()[row];
    double dot = 0;
    const auto g = [&](size_t j) { return widen(dy.data()[row * d + j]); };
    const auto xj = [&](size_t j) { return widen(x.data()[row * d + j]); };
    for (size_t j = 0; j < d; ++j) dot += g(j) * weight.data()[j] * xj(j);
    for (size_t j = 0; j < d; ++j) {
      out.dx[row * d + j] += r * (g(j) * weight.data()[j] - xj(j) * dot * r * r / static_cast<double>(d));
      out.dweight[j] += g(j) * xj(j) * r;
    }
  }
}

TYPED_TEST(RmsNormKernel, BackwardAddsAsTheFloat64Loop) {
  for (const MatrixSize size : kSizes) {
    for (const int64_t shift : shifts_for(size)) {
      SCOPED_TRACE(size.text(shift));
      const int64_t n = size.rows, d = size.columns;
      Buffer<TypeParam> dy(random_values<TypeParam>(n * d, 1), shift_of(shift, 0));
      Buffer<float> x(random_values<float>(n * d, 2), shift_of(shift, 1)),
          rstd(random_values<float>(n, 3), shift_of(shift, 2));
      Buffer<float> weight(random_values<float>(d, 4), shift_of(shift, 3)),
          dx(random_values<float>(n * d, 5), shift_of(shift, 4));
      Buffer<float> dweight(random_values<float>(d, 6), shift_of(shift, 5)),
          workspace(rms_norm_backward_workspace(n, d), shift_of(shift, 6));
      Gradients truth{widened(dx.values()), widened(dweight.values())};
      add_gradients_in_float64(dy, x, rstd, weight, size, truth);
      ASSERT_EQ(launch_rms_norm_backward<TypeParam>({n, d, dy.data(), x.data(), rstd.data(), weight.data(), dx.data(),
                                                     dweight.data(), workspace.data()},
                                                    nullptr),
                cudaSuccess);
      EXPECT_TRUE(all_close(dx.values(), truth.dx));
      EXPECT_TRUE(all_close(dweight.values(), truth.dweight));
    }
  }
}

TYPED_TEST(RmsNormKernel, BackwardWithAFrozenWeightChangesNothingElse) {
  const int64_t n = 40, d = 4100;
  Buffer<TypeParam> dy(random_values<TypeParam>(n * d, 1));
  Buffer<float> x(random_values<float>(n * d, 2)), rstd(random_values<float>(n, 3)), weight(random_values<float>(d, 4));
  Buffer<float> dx(random_values<float>(n * d, 5)), frozen = dx, dweight(random_values<float>(d, 6));
  Buffer<float> workspace(rms_norm_backward_workspace(n, d));
  RmsNormBackward<TypeParam> args{
      n, d, dy.data(), x.data(), rstd.data(), weight.data(), dx.data(), dweight.data(), workspace.data()};
  ASSERT_EQ(launch_rms_norm_backward(args, nullptr), cudaSuccess);
  args.dx = frozen.data();
  args.dweight = args.workspace = nullptr;
  ASSERT_EQ(launch_rms_norm_backward(args, nullptr), cudaSuccess);
  EXPECT_TRUE(same_bits(frozen.values(), dx.values()));
}

TYPED_TEST(RmsNormKernel, BackwardGivesTheSameBitsInAnyOrderOfThreads) {
  const int64_t n = 333, d = 260;
  std::vector<std::vector<float>> dx_runs, dweight_runs;
  simt::for_each_order([&] {
    Buffer<TypeParam> dy(random_values<TypeParam>(n * d, 1));
    Buffer<float> x(random_values<float>(n * d, 2)), rstd(random_values<float>(n, 3));
    Buffer<float> weight(random_values<float>(d, 4)), dx(std::vector<float>(static_cast<size_t>(n * d), 0.0f));
    Buffer<float> dweight(std::vector<float>(static_cast<size_t>(d), 0.0f)),
        workspace(rms_norm_backward_workspace(n, d));
    ASSERT_EQ(launch_rms_norm_backward<TypeParam>(
                  {n, d, dy.data(), x.data(), rstd.data(), weight.data(), dx.data(), dweight.data(), workspace.data()},
                  nullptr),
              cudaSuccess);
    dx_runs.push_back(dx.values());
    dweight_runs.push_back(dweight.values());
    EXPECT_TRUE(same_bits(dx_runs.back(), dx_runs.front()));
    EXPECT_TRUE(same_bits(dweight_runs.back(), dweight_runs.front()));
  });
}

}  // namespace
}  // namespace qtune
