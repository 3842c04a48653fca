// Linear layers on 8-bit floats, the CPU's plain form.
#include "qtune/ops/fp8.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "qtune/base/error.h"

namespace qtune {
namespace {

at::Tensor product(const at::Tensor& x_NI, const at::Tensor& weight_OI) {
  Fp8Weight weight;
  make_fp8_weight(weight_OI.to(at::kBFloat16), weight);
  at::Tensor y = at::full({x_NI.size(0), weight_OI.size(0)}, NAN, at::kBFloat16);
  linear_fp8(x_NI.to(at::kBFloat16), weight, y);
  return y.to(at::kFloat);
}

TEST(LinearFp8, NumbersOfEightBitsMultiplyExactly) {
  // 448 in each row makes the scale 1; 3 bits of mantissa hold the rest.
  at::Tensor x = at::zeros({2, 16}), weight = at::zeros({16, 16});
  x.select(1, 0).fill_(448);
  weight.select(1, 0).fill_(448);
  x[0][1] = 1.125;
  x[1][1] = -0.5;
  weight[3][1] = 416;
  weight.select(1, 0)[3] = 448;
  const at::Tensor y = product(x, weight);
  EXPECT_EQ(y[0][0].item<float>(), 200704.0f);
  EXPECT_EQ(y[0][3].item<float>(), at::scalar_tensor(200704.0 + 468).to(at::kBFloat16).item<float>());
  EXPECT_EQ(y[1][3].item<float>(), at::scalar_tensor(200704.0 - 208).to(at::kBFloat16).item<float>());
}

TEST(LinearFp8, IsNearTheProductAndScalesRowByRow) {
  const at::Tensor x = at::randn({7, 64}).to(at::kBFloat16).to(at::kFloat);
  const at::Tensor weight = at::randn({32, 64}).to(at::kBFloat16).to(at::kFloat);
  const at::Tensor wanted = at::mm(x, weight.t());
  // Each factor is off by at most 1/16, at random.
  EXPECT_LT((product(x, weight) - wanted).norm().item<float>(), 0.05 * wanted.norm().item<float>());
  at::Tensor larger = x.clone();
  larger[2].mul_(1 << 20);
  const at::Tensor found = product(larger, weight), usual = product(x, weight);
  EXPECT_TRUE(at::equal(found[1], usual[1])) << "another row's size changes nothing";
  EXPECT_TRUE(at::equal(found[2], usual[2] * (1 << 20)));
}

TEST(LinearFp8, EmptyZeroAndBrokenRows) {
  const at::Tensor weight = at::randn({16, 16});
  EXPECT_EQ(product(at::zeros({0, 16}), weight).size(0), 0);
  at::Tensor x = at::randn({3, 16});
  x[0].zero_();
  x[1][5] = NAN;
  const at::Tensor y = product(x, weight);
  EXPECT_EQ(y[0].abs().max().item<float>(), 0.0f);
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_TRUE(y[2].isfinite().all().item<bool>());
}

TEST(LinearFp8, OtherSizesThanMultiplesOf16AreRefused) {
  Fp8Weight weight;
  EXPECT_THROW(make_fp8_weight(at::randn({16, 24}).to(at::kBFloat16), weight), Error);
  EXPECT_THROW(make_fp8_weight(at::randn({8, 16}).to(at::kBFloat16), weight), Error);
}

}  // namespace
}  // namespace qtune
