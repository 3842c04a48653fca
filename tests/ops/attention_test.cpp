// Packed attention against its plain twin, around the edges of the tiles of 64 rows.
#include "qtune/ops/attention.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "qtune/ops/reference.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

struct AttentionCase {
  AttentionShape shape;
  std::vector<int32_t> cu_seqlens;
  int64_t num_tokens() const { return cu_seqlens.back(); }
};

/// Query heads per key/value head 1 and 3; one token, a tile less one, a tile, a tile and one, two tiles and two; empty
/// samples at the ends and in the middle; no token; no sample.
std::vector<AttentionCase> attention_cases() {
  const AttentionShape group_of_1{.num_heads = 2, .num_kv_heads = 2, .head_dim = 10};
  const AttentionShape group_of_3{.num_heads = 6, .num_kv_heads = 2, .head_dim = 6};
  std::vector<AttentionCase> cases;
  AttentionShape one_key = group_of_1, window_of_5 = group_of_3, window_of_70 = group_of_3;
  one_key.window = 1;
  window_of_5.window = 5;
  window_of_70.window = 70;  // longer than a tile
  for (const AttentionShape& shape : {group_of_1, group_of_3, one_key, window_of_5, window_of_70}) {
    for (const int32_t t : {1, 63, 64, 65, 130}) cases.push_back({shape, {0, t}});
    cases.push_back({shape, {0, 0, 5, 5, 70, 71, 71}});
    cases.push_back({shape, {0, 0}});
    cases.push_back({shape, {0}});
  }
  return cases;
}

class AttentionTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }
};

TEST_P(AttentionTest, ForwardEqualsItsTwin) {
  for (const AttentionCase& c : attention_cases()) {
    const int64_t n = c.num_tokens(), h = c.shape.num_heads;
    const at::Tensor qkv = random_values({n, c.shape.qkv_width()}, dtype(), 1, 2);
    const at::Tensor out = poisoned({n, c.shape.out_width()}, dtype()), expected = out.clone();
    const at::Tensor lse = poisoned({h, n}, at::kFloat), lse_expected = lse.clone();
    attention(qkv, c.cu_seqlens, c.shape, out, lse);
    attention_reference(qkv, c.cu_seqlens, c.shape, expected, lse_expected);
    EXPECT_TRUE(is_close(out, expected, sums_tolerance(dtype()))) << n << " tokens, " << h << " heads";
    EXPECT_TRUE(is_close(lse, lse_expected, kSums)) << n << " tokens, " << h << " heads";
  }
}

TEST_P(AttentionTest, BackwardEqualsItsTwin) {
  for (const AttentionCase& c : attention_cases()) {
    const int64_t n = c.num_tokens(), h = c.shape.num_heads;
    const at::Tensor qkv = random_values({n, c.shape.qkv_width()}, dtype(), 2);
    const at::Tensor dout = random_values({n, c.shape.out_width()}, dtype(), 3);
    const at::Tensor out = poisoned({n, c.shape.out_width()}, dtype()), lse = poisoned({h, n}, at::kFloat);
    const at::Tensor dqkv = poisoned(qkv.sizes(), dtype()), expected = poisoned(qkv.sizes(), dtype());
    attention(qkv, c.cu_seqlens, c.shape, out, lse);
    attention_backward(dout, qkv, out, lse, c.cu_seqlens, c.shape, dqkv);
    attention_backward_reference(dout, qkv, out, lse, c.cu_seqlens, c.shape, expected);
    // In bfloat16 the op takes sum p dp from the saved, rounded output, so rounding errors enter before the last step.
    const Tolerance tolerance = dtype() == at::kFloat ? kSums : kProductsBFloat16;
    EXPECT_TRUE(is_close(dqkv, expected, tolerance)) << n << " tokens, " << h << " heads";
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, AttentionTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

struct Attended {
  at::Tensor out, lse;
};

Attended attend(const at::Tensor& qkv, const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape) {
  const int64_t n = qkv.size(0);
  Attended a{poisoned({n, shape.out_width()}, qkv.scalar_type()), poisoned({shape.num_heads, n}, at::kFloat)};
  attention(qkv, cu_seqlens, shape, a.out, a.lse);
  return a;
}

constexpr AttentionShape kShape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 6};

TEST(Attention, PackingChangesNoBit) {
  const at::Tensor qkv = random_values({100, kShape.qkv_width()}, at::kFloat, 4);
  const at::Tensor packed = attend(qkv, {0, 35, 100}, kShape).out;
  EXPECT_TRUE(at::equal(packed.narrow(0, 0, 35), attend(qkv.narrow(0, 0, 35), {0, 35}, kShape).out));
  EXPECT_TRUE(at::equal(packed.narrow(0, 35, 65), attend(qkv.narrow(0, 35, 65), {0, 65}, kShape).out));
}

TEST(Attention, LaterTokensAndOtherSamplesAreNotSeen) {
  const at::Tensor qkv = random_values({100, kShape.qkv_width()}, at::kFloat, 4), changed = qkv.clone();
  changed.narrow(0, 20, 15).fill_(1e4);
  const at::Tensor before = attend(qkv, {0, 35, 100}, kShape).out, after = attend(changed, {0, 35, 100}, kShape).out;
  EXPECT_TRUE(at::equal(before.narrow(0, 0, 20), after.narrow(0, 0, 20)));
  EXPECT_TRUE(at::equal(before.narrow(0, 35, 65), after.narrow(0, 35, 65)));
  EXPECT_FALSE(at::equal(before.narrow(0, 20, 15), after.narrow(0, 20, 15)));
}

TEST(Attention, HugeAndEqualScoresStayFinite) {
  const at::Tensor qkv = random_values({70, kShape.qkv_width()}, at::kFloat, 5);
  qkv.narrow(1, 0, 48).mul_(100);                 // scores of q and k around 1e4
  qkv.narrow(0, 0, 10).narrow(1, 0, 36).zero_();  // and rows that weigh all keys alike
  const Attended found = attend(qkv, {0, 70}, kShape);
  const AttentionResult truth = attention_formula(qkv.to(at::kDouble), {0, 70}, kShape);
  // A score of 1e5 is known to 1e5 * 6e-8 in float32, and its softmax to that relative error.
  EXPECT_TRUE(is_close(found.out, truth.out, {.relative = 0, .of_largest = 0.05}));
  EXPECT_TRUE(is_close(found.lse, truth.logsumexp_HN, kSums));
  const at::Tensor mean = qkv.narrow(0, 0, 8).narrow(1, 48, 6).mean(0);
  EXPECT_TRUE(is_close(found.out[7].narrow(0, 0, 6), mean, kSums));
}

TEST(Attention, ErrorAgainstFloat64IsThatOfThePlainTwin) {
  const at::Tensor qkv = random_values({130, kShape.qkv_width()}, at::kFloat, 6, 2);
  const AttentionResult truth = attention_formula(qkv.to(at::kDouble), {0, 130}, kShape);
  EXPECT_TRUE(is_close(attend(qkv, {0, 130}, kShape).out, truth.out, kSums));
  EXPECT_TRUE(is_close(attention_formula(qkv, {0, 130}, kShape).out, truth.out, kSums));
}

TEST(Attention, OffsetsThatDoNotCoverTheTokensThrow) {
  const at::Tensor qkv = random_values({4, kShape.qkv_width()}, at::kFloat, 7);
  for (const std::vector<int32_t>& cu :
       std::vector<std::vector<int32_t>>{{}, {0}, {0, 3}, {0, 5}, {1, 4}, {0, 3, 2, 4}}) {
    EXPECT_THROW(attend(qkv, cu, kShape), Error);
  }
}

}  // namespace
}  // namespace qtune
