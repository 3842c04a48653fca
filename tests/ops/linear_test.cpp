#include "qtune/ops/linear.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

class LinearTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }
};

TEST_P(LinearTest, ProductsEqualFloat64) {
  for (const int64_t n : {0, 1, 2, 3, 4, 7, 16, 17, 65}) {
    const at::Tensor x = random_values({n, 63}, dtype(), 1), weight = random_values({331, 63}, dtype(), 2);
    const at::Tensor y = poisoned({n, 331}, dtype()), dx = poisoned({n, 63}, dtype());
    linear(x, weight, y);
    const at::Tensor truth = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
    EXPECT_TRUE(is_close(y, truth, sums_tolerance(dtype()))) << n;
    linear_input_gradient(y, weight, dx);
    EXPECT_TRUE(is_close(dx, at::matmul(y.to(at::kDouble), weight.to(at::kDouble)), sums_tolerance(dtype()))) << n;
  }
}

/// What generation computes for one sequence does not depend on those beside it.
TEST(Linear, FewRowsHaveTheBitsOfEachAlone) {
  const at::Tensor x = random_values({16, 63}, at::kFloat, 1), weight = random_values({331, 63}, at::kFloat, 2);
  for (const int64_t n : {2, 5, 16}) {
    const at::Tensor together = poisoned({n, 331}, at::kFloat), alone = poisoned({1, 331}, at::kFloat);
    linear(x.narrow(0, 0, n), weight, together);
    for (int64_t i = 0; i < n; ++i) {
      linear(x.narrow(0, i, 1), weight, alone);
      EXPECT_TRUE(at::equal(together.narrow(0, i, 1), alone)) << i << " of " << n;
    }
  }
}

TEST_P(LinearTest, ProductIsAddedToColumnsOfAWiderTensor) {
  for (const int64_t n : {0, 1, 65}) {
    const at::Tensor inner = random_values({n, 24}, dtype(), 1), weight = random_values({40, 8}, dtype(), 2);
    const at::Tensor y = random_values({n, 100}, dtype(), 3), before = y.clone(), x = inner.narrow(1, 16, 8);
    linear_accumulate(x, weight, y.narrow(1, 50, 40));
    const at::Tensor product = at::matmul(x.to(at::kDouble), weight.to(at::kDouble).t());
    EXPECT_TRUE(
        is_close(y.narrow(1, 50, 40), before.narrow(1, 50, 40).to(at::kDouble) + product, sums_tolerance(dtype())))
        << n;
    EXPECT_TRUE(at::equal(y.narrow(1, 0, 50), before.narrow(1, 0, 50)));
    EXPECT_TRUE(at::equal(y.narrow(1, 90, 10), before.narrow(1, 90, 10)));
  }
}

TEST_P(LinearTest, WeightGradientIsAddedInFloat32) {
  for (const int64_t n : {0, 1, 65}) {
    const at::Tensor x = random_values({n, 63}, dtype(), 1), dy = random_values({n, 331}, dtype(), 2);
    const at::Tensor dweight = random_values({331, 63}, at::kFloat, 3, 1000);
    const at::Tensor product = at::matmul(dy.to(at::kDouble).t(), x.to(at::kDouble));
    const at::Tensor truth = dweight.to(at::kDouble) + product;
    linear_weight_gradient(dy, x, dweight, poisoned({331, 63}, dtype()));
    // The sum keeps what a bfloat16 sum of 1000 + 8 would lose; the product is rounded once.
    const double rounding =
        dtype() == at::kBFloat16 && n > 0 ? kBFloat16Rounding * product.abs().max().item<double>() : 0;
    EXPECT_LE((dweight - truth).abs().max().item<double>(), 1.01 * rounding + 4e-6 * truth.abs().max().item<double>())
        << n;
  }
}

TEST_P(LinearTest, BiasIsAddedToEveryRowAndItsGradientIsTheirSum) {
  for (const int64_t n : {0, 1, 65}) {
    const at::Tensor y = random_values({n, 130}, dtype(), 4), before = y.clone();
    const at::Tensor bias = random_values({130}, at::kFloat, 5), dbias = random_values({130}, at::kFloat, 6);
    add_bias(bias, y);
    EXPECT_TRUE(is_close(y, before.to(at::kDouble) + bias, elementwise_tolerance(dtype()))) << n;
    const at::Tensor truth = dbias.to(at::kDouble) + y.to(at::kDouble).sum(0);
    bias_gradient(y, dbias);
    EXPECT_TRUE(is_close(dbias, truth, kSums)) << n;
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LinearTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

TEST(Linear, WrongOutputShapeThrows) {
  const at::Tensor x = random_values({2, 3}, at::kFloat, 1), weight = random_values({4, 3}, at::kFloat, 2);
  EXPECT_THROW(linear(x, weight, poisoned({2, 3}, at::kFloat)), Error);
}

}  // namespace
}  // namespace qtune
