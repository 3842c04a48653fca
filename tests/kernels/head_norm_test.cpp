#include "kernels/head_norm.h"

#include "kernel_test_support.h"
#include "simt/orders.h"

namespace qtune {
namespace {

constexpr double kEpsilon = 1e-6;
// A head in one lane (4), in half a warp, in a whole one, in two packs a lane (256); odd ones go element by element.
constexpr HeadShape kShapes[] = {{0, 2, 1, 8},  {1, 1, 1, 1},  {3, 3, 1, 4},    {5, 2, 2, 7},
                                 {7, 4, 2, 64}, {9, 5, 1, 33}, {11, 3, 2, 128}, {3, 2, 1, 256}};

template <class T>
struct HeadNormKernel : testing::Test {};
TYPED_TEST_SUITE(HeadNormKernel, ComputeTypes, ComputeTypeNames);

std::string text_of(const HeadShape& s, int64_t shift) { return MatrixSize{s.num_rows, s.head_dim}.text(shift); }

int64_t qkv_size(const HeadShape& s) { return s.num_rows * (s.num_heads + 2 * s.num_kv_heads) * s.head_dim; }
int64_t num_normed(const HeadShape& s) { return s.num_rows * (s.num_heads + s.num_kv_heads); }

/// Calls f(index of the head's first element in qkv, its number, whether it is a query head).
template <class F>
void for_each_head(const HeadShape& s, F f) {
  for (int64_t i = 0; i < num_normed(s); ++i) {
    const int64_t row = i / (s.num_heads + s.num_kv_heads), h = i % (s.num_heads + s.num_kv_heads);
    f(static_cast<size_t>((row * (s.num_heads + 2 * s.num_kv_heads) + h) * s.head_dim), static_cast<size_t>(i),
      h < s.num_heads);
  }
}

TYPED_TEST(HeadNormKernel, ForwardIsTheFloat64LoopAndSavesTheRawHeads) {
  for (const HeadShape& s : kShapes) {
    for (const int64_t shift : shifts_for({s.num_rows, s.head_dim})) {
      SCOPED_TRACE(text_of(s, shift));
      const auto e = static_cast<size_t>(s.head_dim);
      Buffer<TypeParam> qkv(random_values<TypeParam>(qkv_size(s), 1), shift_of(shift, 0)),
          raw(num_normed(s) * s.head_dim, shift_of(shift, 1));
      Buffer<float> query(random_values<float>(s.head_dim, 2), shift_of(shift, 2)),
          key(random_values<float>(s.head_dim, 3), shift_of(shift, 3));
      Buffer<float> rstd(num_normed(s), shift_of(shift, 4));
      std::vector<double> y = widened(qkv.values()), raw_truth, rstd_truth;
      for_each_head(s, [&](size_t at, size_t, bool is_query) {
        double sum = 0;
        for (size_t j = 0; j < e; ++j) sum += y[at + j] * y[at + j];
        rstd_truth.push_back(1 / std::sqrt(sum / static_cast<double>(e) + kEpsilon));
        for (size_t j = 0; j < e; ++j) {
          raw_truth.push_back(y[at + j]);
          y[at + j] *= rstd_truth.back() * (is_query ? query : key).data()[j];
        }
      });
      ASSERT_EQ(launch_head_norm<TypeParam>(
                    {s, qkv.data(), query.data(), key.data(), static_cast<float>(kEpsilon), raw.data(), rstd.data()},
                    nullptr),
                cudaSuccess);
      EXPECT_TRUE(all_close(qkv.values(), y));
      EXPECT_EQ(widened(raw.values()), raw_truth);
      EXPECT_TRUE(all_close(rstd.values(), rstd_truth));
    }
  }
}

/// Inputs of a backward, and its three results.
template <class T>
struct Backward {
  Backward(const HeadShape& s, int64_t shift)
      : shape(s),
        dqkv(random_values<T>(qkv_size(s), 1), shift_of(shift, 0)),
        raw(random_values<T>(num_normed(s) * s.head_dim, 2), shift_of(shift, 1)),
        rstd(random_values<float>(num_normed(s), 3), shift_of(shift, 2)),
        query(random_values<float>(s.head_dim, 4), shift_of(shift, 3)),
        key(random_values<float>(s.head_dim, 5), shift_of(shift, 4)),
        dquery(random_values<float>(s.head_dim, 6), shift_of(shift, 5)),
        dkey(random_values<float>(s.head_dim, 7), shift_of(shift, 6)),
        workspace(head_norm_backward_workspace(s), shift_of(shift, 7)) {}

  cudaError_t run(bool trains_weights) {
    HeadNormBackward<T> args{shape,      dqkv.data(),   raw.data(),  rstd.data(),     query.data(),
                             key.data(), dquery.data(), dkey.data(), workspace.data()};
    if (!trains_weights) args.dquery_weight = args.dkey_weight = args.workspace = nullptr;
    return launch_head_norm_backward(args, nullptr);
  }

  HeadShape shape;
  Buffer<T> dqkv, raw;
  Buffer<float> rstd, query, key, dquery, dkey, workspace;
};

TYPED_TEST(HeadNormKernel, BackwardIsTheFloat64LoopAndAddsToTheWeights) {
  for (const HeadShape& s : kShapes) {
    for (const int64_t shift : shifts_for({s.num_rows, s.head_dim})) {
      SCOPED_TRACE(text_of(s, shift));
      Backward<TypeParam> b(s, shift);
      const auto e = static_cast<size_t>(s.head_dim);
      std::vector<double> dx = widened(b.dqkv.values()), dquery = widened(b.dquery.values()),
                          dkey = widened(b.dkey.values());
      for_each_head(s, [&](size_t at, size_t number, bool is_query) {
        const double r = b.rstd.data()[number];
        const float* weight = (is_query ? b.query : b.key).data();
        double dot = 0;
        for (size_t j = 0; j < e; ++j) dot += dx[at + j] * weight[j] * widen(b.raw.data()[number * e + j]);
        for (size_t j = 0; j < e; ++j) {
          const double x = widen(b.raw.data()[number * e + j]), g = dx[at + j];
          (is_query ? dquery : dkey)[j] += g * x * r;
          dx[at + j] = r * (g * weight[j] - x * dot * r * r / static_cast<double>(e));
        }
      });
      ASSERT_EQ(b.run(true), cudaSuccess);
      EXPECT_TRUE(all_close(b.dqkv.values(), dx));
      EXPECT_TRUE(all_close(b.dquery.values(), dquery));
      EXPECT_TRUE(all_close(b.dkey.values(), dkey));
    }
  }
}

TYPED_TEST(HeadNormKernel, BackwardWithFrozenWeightsChangesNothingElse) {
  Backward<TypeParam> trained({9, 3, 1, 64}, 0), frozen({9, 3, 1, 64}, 0);
  const std::vector<float> dquery = frozen.dquery.values();
  ASSERT_EQ(trained.run(true), cudaSuccess);
  ASSERT_EQ(frozen.run(false), cudaSuccess);
  EXPECT_TRUE(same_bits(frozen.dqkv.values(), trained.dqkv.values()));
  EXPECT_TRUE(same_bits(frozen.dquery.values(), dquery));
}

TYPED_TEST(HeadNormKernel, BackwardGivesTheSameBitsInAnyOrderOfThreads) {
  std::vector<std::vector<float>> runs;
  simt::for_each_order([&] {
    Backward<TypeParam> b({150, 3, 1, 24}, 0);
    ASSERT_EQ(b.run(true), cudaSuccess);
    runs.push_back(b.dquery.values());
    EXPECT_TRUE(same_bits(runs.back(), runs.front()));
  });
}

TYPED_TEST(HeadNormKernel, RefusesHeadsThatDoNotFitALane) {
  EXPECT_EQ(launch_head_norm<TypeParam>({{1, 1, 1, kMaxHeadDim + 1}}, nullptr), cudaErrorInvalidValue);
  EXPECT_EQ(launch_head_norm_backward<TypeParam>({{1, 1, 1, 0}}, nullptr), cudaErrorInvalidValue);
}

// A head of 17 takes a warp: 16,400 of them are more than all warps of a grid take at once.
TEST(HeadNormKernel, ForwardWalksMoreHeadsThanAGridHasWarps) {
  const HeadShape s{8200, 1, 1, 17};
  const auto filled = [](int64_t count, float value) { return std::vector<float>(static_cast<size_t>(count), value); };
  Buffer<float> qkv(filled(qkv_size(s), 2.0f)), weight(filled(17, 3.0f)), raw(num_normed(s) * 17), rstd(num_normed(s));
  const HeadNorm<float> args{s, qkv.data(), weight.data(), weight.data(), 0.0f, raw.data(), rstd.data()};
  ASSERT_EQ(launch_head_norm(args, nullptr), cudaSuccess);
  EXPECT_EQ(rstd.values(), filled(num_normed(s), 0.5f));
  EXPECT_EQ(raw.values(), filled(num_normed(s) * 17, 2.0f));
}

}  // namespace
}  // namespace qtune
