#include "qtune/ops/head_norm.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "qtune/ops/reference.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

constexpr int64_t kHeads = 6, kKvHeads = 2, kHeadDim = 10, kWidth = (kHeads + 2 * kKvHeads) * kHeadDim;
constexpr double kEpsilon = 1e-5;

class HeadNormTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }

  const HeadNormWeights weights_{.query_E = random_values({kHeadDim}, at::kFloat, 1),
                                 .key_E = random_values({kHeadDim}, at::kFloat, 2)};
};

TEST_P(HeadNormTest, ForwardEqualsItsTwinAndKeepsValuesAndRawHeads) {
  for (const int64_t n : {0, 1, 300}) {
    const at::Tensor qkv = random_values({n, kWidth}, dtype(), 3, 3), before = qkv.clone();
    const at::Tensor raw = poisoned({n, (kHeads + kKvHeads) * kHeadDim}, dtype());
    const at::Tensor rstd = poisoned({n, kHeads + kKvHeads}, at::kFloat);
    head_rms_norm(qkv, weights_, kHeads, kKvHeads, kEpsilon, raw, rstd);
    const at::Tensor expected = head_rms_norm_formula(before, weights_, kHeads, kKvHeads, kEpsilon);
    EXPECT_TRUE(is_close(qkv, expected.to(dtype()), elementwise_tolerance(dtype()))) << n;
    EXPECT_TRUE(at::equal(raw, before.narrow(1, 0, raw.size(1)))) << n;
    EXPECT_TRUE(
        at::equal(qkv.narrow(1, raw.size(1), kKvHeads * kHeadDim), before.narrow(1, raw.size(1), kKvHeads * kHeadDim)))
        << "value heads changed";
  }
}

TEST_P(HeadNormTest, BackwardEqualsAutograd) {
  for (const int64_t n : {0, 1, 300}) {
    const at::Tensor qkv = random_values({n, kWidth}, dtype(), 4, 3), before = qkv.to(at::kFloat).clone();
    const at::Tensor raw = poisoned({n, (kHeads + kKvHeads) * kHeadDim}, dtype());
    const at::Tensor rstd = poisoned({n, kHeads + kKvHeads}, at::kFloat);
    head_rms_norm(qkv, weights_, kHeads, kKvHeads, kEpsilon, raw, rstd);

    const at::Tensor x = before.clone().set_requires_grad(true);
    const HeadNormWeights leaves{.query_E = weights_.query_E.clone().set_requires_grad(true),
                                 .key_E = weights_.key_E.clone().set_requires_grad(true)};
    const at::Tensor dqkv = random_values({n, kWidth}, dtype(), 5);
    head_rms_norm_formula(x, leaves, kHeads, kKvHeads, kEpsilon).backward(dqkv.to(at::kFloat));

    // Not zero: the op adds.
    const HeadNormWeights dweights{.query_E = random_values({kHeadDim}, at::kFloat, 6),
                                   .key_E = random_values({kHeadDim}, at::kFloat, 7)};
    const at::Tensor dquery = dweights.query_E + leaves.query_E.grad(), dkey = dweights.key_E + leaves.key_E.grad();
    head_rms_norm_backward(dqkv, raw, rstd, weights_, kHeads, kKvHeads, dweights);
    EXPECT_TRUE(is_close(dqkv, x.grad().to(dtype()), sums_tolerance(dtype()))) << n;
    EXPECT_TRUE(is_close(dweights.query_E, dquery, kSums)) << n;
    EXPECT_TRUE(is_close(dweights.key_E, dkey, kSums)) << n;
  }
}

TEST_P(HeadNormTest, FrozenWeightsChangeNothingElse) {
  const at::Tensor qkv = random_values({9, kWidth}, dtype(), 4, 3);
  const at::Tensor raw = poisoned({9, (kHeads + kKvHeads) * kHeadDim}, dtype());
  const at::Tensor rstd = poisoned({9, kHeads + kKvHeads}, at::kFloat);
  head_rms_norm(qkv, weights_, kHeads, kKvHeads, kEpsilon, raw, rstd);
  const at::Tensor dqkv = random_values({9, kWidth}, dtype(), 5), frozen = dqkv.clone();
  head_rms_norm_backward(dqkv, raw, rstd, weights_, kHeads, kKvHeads,
                         {.query_E = at::zeros({kHeadDim}), .key_E = at::zeros({kHeadDim})});
  head_rms_norm_backward(frozen, raw, rstd, weights_, kHeads, kKvHeads, {});
  EXPECT_TRUE(at::equal(frozen, dqkv));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, HeadNormTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

TEST(HeadNorm, WrongShapeThrows) {
  const HeadNormWeights weights{.query_E = at::ones({4}), .key_E = at::ones({4})};
  EXPECT_THROW(head_rms_norm(at::zeros({2, 12}), weights, 1, 1, kEpsilon, at::zeros({2, 4}), at::zeros({2, 2})), Error);
}

}  // namespace
}  // namespace qtune
