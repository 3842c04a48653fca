// Element-wise ops against their plain twins, on sizes that leave tails in every vector loop, into poisoned outputs.
#include "qtune/ops/elementwise.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "qtune/ops/reference.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

struct Size {
  int64_t rows, columns;
};

/// No row; one value; one vector and a tail; more rows than a thread's share, past RMSNorm's blocks of 128 rows.
constexpr Size kSizes[] = {{0, 8}, {1, 1}, {3, 65}, {17, 331}, {150, 63}};

class ElementwiseTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }
};

TEST_P(ElementwiseTest, AddRmsNormEqualsItsTwin) {
  for (const auto [n, d] : kSizes) {
    const at::Tensor x = random_values({n, d}, at::kFloat, 1), delta = random_values({n, d}, dtype(), 2, 0.5);
    const at::Tensor weight = random_values({d}, at::kFloat, 3);
    const at::Tensor x_out = poisoned({n, d}, at::kFloat), y = poisoned({n, d}, dtype()),
                     rstd = poisoned({n}, at::kFloat);
    const at::Tensor x_out_twin = poisoned({n, d}, at::kFloat), y_twin = poisoned({n, d}, dtype());
    const at::Tensor rstd_twin = poisoned({n}, at::kFloat);
    add_rms_norm(x, delta, x_out, weight, 1e-5, y, rstd);
    add_rms_norm_reference(x, delta, x_out_twin, weight, 1e-5, y_twin, rstd_twin);
    EXPECT_TRUE(at::equal(x_out, x_out_twin)) << n << " x " << d;
    EXPECT_TRUE(is_close(rstd, rstd_twin, kSums)) << n << " x " << d;
    EXPECT_TRUE(is_close(y, y_twin, sums_tolerance(dtype()))) << n << " x " << d;
  }
}

TEST_P(ElementwiseTest, RmsNormMayAddIntoItsInput) {
  const at::Tensor x = random_values({5, 33}, at::kFloat, 1), delta = random_values({5, 33}, dtype(), 2);
  const at::Tensor weight = random_values({33}, at::kFloat, 3), x_out = poisoned({5, 33}, at::kFloat);
  const at::Tensor y = poisoned({5, 33}, dtype()), y_in_place = poisoned({5, 33}, dtype()),
                   rstd = poisoned({5}, at::kFloat);
  add_rms_norm(x, delta, x_out, weight, 1e-5, y, rstd);
  add_rms_norm(x, delta, x, weight, 1e-5, y_in_place, rstd);
  EXPECT_TRUE(at::equal(x, x_out));
  EXPECT_TRUE(at::equal(y, y_in_place));
}

TEST_P(ElementwiseTest, RmsNormWithoutDeltaLeavesTheInputAlone) {
  const at::Tensor x = random_values({3, 65}, at::kFloat, 1), before = x.clone();
  const at::Tensor weight = random_values({65}, at::kFloat, 3), y = poisoned({3, 65}, dtype()),
                   y_twin = poisoned({3, 65}, dtype());
  const at::Tensor rstd = poisoned({3}, at::kFloat);
  add_rms_norm(x, {}, x, weight, 1e-5, y, rstd);
  add_rms_norm_reference(x, {}, x, weight, 1e-5, y_twin, rstd);
  EXPECT_TRUE(at::equal(x, before));
  EXPECT_TRUE(is_close(y, y_twin, sums_tolerance(dtype())));
}

TEST_P(ElementwiseTest, RmsNormHoldsForHugeAndZeroRows) {
  at::Tensor x = random_values({3, 65}, at::kFloat, 4);
  x[0].add_(1e4);
  x[1].zero_();
  const at::Tensor weight = random_values({65}, at::kFloat, 3), y = poisoned({3, 65}, dtype()),
                   y_twin = poisoned({3, 65}, dtype());
  const at::Tensor rstd = poisoned({3}, at::kFloat), rstd_twin = poisoned({3}, at::kFloat);
  add_rms_norm(x, {}, x, weight, 1e-5, y, rstd);
  add_rms_norm_reference(x, {}, x, weight, 1e-5, y_twin, rstd_twin);
  EXPECT_TRUE(is_close(rstd, rstd_twin, kSums));
  EXPECT_TRUE(is_close(y, y_twin, sums_tolerance(dtype())));
}

TEST_P(ElementwiseTest, RmsNormAgainGivesTheBitsOfTheForward) {
  const at::Tensor x = random_values({17, 331}, at::kFloat, 1), weight = random_values({331}, at::kFloat, 3);
  const at::Tensor y = poisoned({17, 331}, dtype()), again = poisoned({17, 331}, dtype()),
                   twin = poisoned({17, 331}, dtype());
  const at::Tensor rstd = poisoned({17}, at::kFloat);
  add_rms_norm(x, {}, x, weight, 1e-5, y, rstd);
  rms_norm_again(x, rstd, weight, again);
  rms_norm_again_reference(x, rstd, weight, twin);
  EXPECT_TRUE(at::equal(y, again));
  EXPECT_TRUE(is_close(again, twin, elementwise_tolerance(dtype())));
}

TEST_P(ElementwiseTest, RmsNormBackwardAddsTheGradientsOfItsTwin) {
  for (const auto [n, d] : kSizes) {
    const at::Tensor x = random_values({n, d}, at::kFloat, 1), dy = random_values({n, d}, dtype(), 2);
    const at::Tensor weight = random_values({d}, at::kFloat, 3), y = poisoned({n, d}, at::kFloat),
                     rstd = poisoned({n}, at::kFloat);
    add_rms_norm(x, {}, x, weight, 1e-5, y, rstd);
    // Not zero: the op adds.
    const at::Tensor dx = random_values({n, d}, at::kFloat, 5), dx_twin = dx.clone();
    const at::Tensor dweight = random_values({d}, at::kFloat, 6), dweight_twin = dweight.clone();
    rms_norm_backward(dy, x, rstd, weight, dx, dweight);
    rms_norm_backward_reference(dy, x, rstd, weight, dx_twin, dweight_twin);
    EXPECT_TRUE(is_close(dx, dx_twin, kSums)) << n << " x " << d;
    EXPECT_TRUE(is_close(dweight, dweight_twin, kSums)) << n << " x " << d;
  }
}

TEST_P(ElementwiseTest, SwigluEqualsItsTwinOnAllSizesOfGate) {
  for (const auto [n, f] : kSizes) {
    const at::Tensor gate_up = random_values({n, 2 * f}, dtype(), 8, 3);
    if (n > 1) gate_up[1].narrow(0, 0, f).mul_(40);  // sigmoid at its ends
    const at::Tensor found = poisoned({n, f}, dtype()), expected = poisoned({n, f}, dtype());
    swiglu(gate_up, found);
    swiglu_reference(gate_up, expected);
    EXPECT_TRUE(is_close(found, expected, elementwise_tolerance(dtype()))) << n << " x " << f;
  }
}

TEST_P(ElementwiseTest, SwigluBackwardEqualsItsTwinAlsoInPlace) {
  for (const auto [n, f] : kSizes) {
    const at::Tensor gate_up = random_values({n, 2 * f}, dtype(), 8, 3), dh = random_values({n, f}, dtype(), 9);
    const at::Tensor found = poisoned({n, 2 * f}, dtype()), expected = poisoned({n, 2 * f}, dtype());
    const at::Tensor h = poisoned({n, f}, dtype()), h_twin = poisoned({n, f}, dtype()),
                     h_forward = poisoned({n, f}, dtype());
    swiglu_backward(dh, gate_up, found, h);
    swiglu_backward_reference(dh, gate_up, expected, h_twin);
    EXPECT_TRUE(is_close(found, expected, elementwise_tolerance(dtype()))) << n << " x " << f;
    EXPECT_TRUE(is_close(h, h_twin, elementwise_tolerance(dtype()))) << n << " x " << f;
    swiglu(gate_up, h_forward);
    EXPECT_TRUE(at::equal(h, h_forward)) << "the weight gradient needs the h of the forward";
    swiglu_backward(dh, gate_up, gate_up, h);
    EXPECT_TRUE(at::equal(gate_up, found));
  }
}

TEST_P(ElementwiseTest, ConvertIntoRoundsAsATen) {
  const at::Tensor from = random_values({331}, at::kFloat, 10, 1e3);
  from[0] = INFINITY;
  from[1] = 3.3961775e38f;  // beyond the largest bfloat16: rounds to infinity
  from[2] = 1.00390625f;    // halfway, to even
  from[3] = -0.0f;
  const at::Tensor to = poisoned({331}, dtype()), back = poisoned({331}, at::kFloat);
  convert_into(from, to);
  convert_into(to, back);
  EXPECT_TRUE(at::equal(to, from.to(dtype())));
  EXPECT_TRUE(at::equal(back, to.to(at::kFloat)));
}

TEST_P(ElementwiseTest, AccumulateAddsInFloat32) {
  const at::Tensor addend = random_values({3, 65}, dtype(), 11), sum = random_values({3, 65}, at::kFloat, 12);
  const at::Tensor expected = sum + addend;
  accumulate(addend, sum);
  EXPECT_TRUE(at::equal(sum, expected));
}

TEST_P(ElementwiseTest, EmbedEqualsItsTwin) {
  const at::Tensor table = random_values({331, 65}, dtype(), 13), ids = int_tensor({0, 330, 7, 7, 0});
  const at::Tensor found = poisoned({5, 65}, at::kFloat), expected = poisoned({5, 65}, at::kFloat);
  embed(table, ids, found);
  embed_reference(table, ids, expected);
  EXPECT_TRUE(at::equal(found, expected));
}

TEST_P(ElementwiseTest, RmsNormBackwardWithAFrozenWeightChangesNothingElse) {
  const at::Tensor x = random_values({300, 33}, at::kFloat, 1), weight = random_values({33}, at::kFloat, 2);
  const at::Tensor dy = random_values({300, 33}, GetParam(), 3), rstd = random_values({300}, at::kFloat, 4).abs();
  const at::Tensor dx = at::zeros({300, 33}), frozen = at::zeros({300, 33});
  rms_norm_backward(dy, x, rstd, weight, dx, at::zeros({33}));
  rms_norm_backward(dy, x, rstd, weight, frozen, {});
  EXPECT_TRUE(at::equal(frozen, dx));
}

TEST_P(ElementwiseTest, DropoutDropsTheAskedShareAndScalesTheRest) {
  const at::Tensor x = at::ones({1001, 301}, GetParam()), y = poisoned({1001, 301}, GetParam());
  dropout(x, 0.25, {.seed = 3, .stream = 9}, y);
  const at::Tensor kept = y.to(at::kFloat);
  const double share = (kept == 0).to(at::kDouble).mean().item<double>();
  // Five standard errors of 301,301 draws.
  EXPECT_NEAR(share, 0.25, 5 * std::sqrt(0.25 * 0.75 / 301301));
  const float factor = at::full({1}, 1 / 0.75).to(GetParam()).to(at::kFloat).item<float>();
  EXPECT_TRUE(((kept == 0) | (kept == factor)).all().item<bool>());
  for (const int64_t axis : {0, 1}) {  // neither rows nor columns go together
    EXPECT_GT((kept == 0).to(at::kDouble).mean(axis).min().item<double>(), 0.1);
    EXPECT_LT((kept == 0).to(at::kDouble).mean(axis).max().item<double>(), 0.4);
  }
}

TEST_P(ElementwiseTest, DropoutFollowsItsStreamAloneAlsoInPlace) {
  const at::Tensor x = random_values({257, 255}, GetParam(), 1), y = poisoned({257, 255}, GetParam());
  dropout(x, 0.5, {.seed = 3, .stream = 9}, y);
  const auto again = [&](DropoutStream stream) {
    const at::Tensor z = x.clone();
    dropout(z, 0.5, stream, z);
    return z;
  };
  EXPECT_TRUE(at::equal(again({.seed = 3, .stream = 9}), y));
  EXPECT_FALSE(at::equal(again({.seed = 4, .stream = 9}), y));
  EXPECT_FALSE(at::equal(again({.seed = 3, .stream = 8}), y));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ElementwiseTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

TEST(ConvertInto, NanStaysNan) {
  const at::Tensor to = at::zeros({1}, at::kBFloat16);
  convert_into(at::full({1}, std::nan(""), at::kFloat), to);
  EXPECT_TRUE(to.isnan().all().item<bool>());
}

TEST(Embed, IdOutsideTheVocabularyThrows) {
  const at::Tensor table = random_values({5, 3}, at::kFloat, 15), x = poisoned({1, 3}, at::kFloat);
  EXPECT_THROW(embed(table, int_tensor({5}), x), Error);
  EXPECT_THROW(embed(table, int_tensor({-1}), x), Error);
  const at::Tensor dtable = random_values({5, 3}, at::kFloat, 17), dx = random_values({1, 3}, at::kFloat, 16);
  EXPECT_THROW(embed_backward(dx, int_tensor({5}), dtable), Error);
  EXPECT_THROW(embed_backward(dx, int_tensor({-1}), dtable), Error);
}

TEST(Embed, BackwardAddsEveryUseOfAToken) {
  const at::Tensor ids = int_tensor({3, 0, 3, 3}), dx = random_values({4, 65}, at::kFloat, 16);
  const at::Tensor found = random_values({5, 65}, at::kFloat, 17), expected = found.clone();
  embed_backward(dx, ids, found);
  embed_backward_reference(dx, ids, expected);
  EXPECT_TRUE(is_close(found, expected, kElementwise));
}

TEST(Rows, GatherAndScatterEqualTheirTwins) {
  const at::Tensor rows = int_tensor({0, 1, 1, 4}), x = random_values({5, 65}, at::kFloat, 18);
  const at::Tensor found = poisoned({4, 65}, at::kFloat), expected = poisoned({4, 65}, at::kFloat);
  gather_rows(x, rows, found);
  gather_rows_reference(x, rows, expected);
  EXPECT_TRUE(at::equal(found, expected));
  const at::Tensor x_twin = x.clone();
  scatter_add_rows(found, rows, x);
  scatter_add_rows_reference(found, rows, x_twin);
  EXPECT_TRUE(is_close(x, x_twin, kElementwise));
}

TEST(Rows, RowOutsideThrows) {
  const at::Tensor x = random_values({5, 3}, at::kFloat, 18), out = poisoned({1, 3}, at::kFloat);
  EXPECT_THROW(gather_rows(x, int_tensor({5}), out), Error);
  EXPECT_THROW(gather_rows(x, int_tensor({-1}), out), Error);
  const at::Tensor addend = random_values({2, 3}, at::kFloat, 19), before = x.clone();
  EXPECT_THROW(scatter_add_rows(addend, int_tensor({5, 5}), x), Error);
  EXPECT_THROW(scatter_add_rows(addend, int_tensor({-1, 0}), x), Error);
  EXPECT_TRUE(at::equal(x, before));
  EXPECT_THROW(scatter_add_rows(addend, int_tensor({3, 1}), x), Error) << "a GPU adds runs of equal rows";
}

TEST(Elementwise, WrongShapesAndDtypesAreNamed) {
  const at::Tensor x = random_values({2, 8}, at::kFloat, 1), weight = random_values({8}, at::kFloat, 2);
  const at::Tensor rstd = poisoned({2}, at::kFloat);
  EXPECT_THROW(add_rms_norm(x, {}, x, weight.narrow(0, 0, 7), 1e-5, x.clone(), rstd), Error);
  EXPECT_THROW(add_rms_norm(x.to(at::kBFloat16), {}, x, weight, 1e-5, x.clone(), rstd), Error);
  EXPECT_THROW(add_rms_norm(x.t(), {}, x.t(), x[0], 1e-5, x.t(), weight), Error);
  EXPECT_THROW(swiglu(x, poisoned({2, 5}, at::kFloat)), Error);
  EXPECT_THROW(swiglu(x.to(at::kDouble), poisoned({2, 4}, at::kDouble)), Error);
}

}  // namespace
}  // namespace qtune
