#include "qtune/ops/rope.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "qtune/ops/reference.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

class RopeTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }
};

TEST_P(RopeTest, EqualsItsTwinInBothDirections) {
  const at::Tensor table = make_rope_table(50, rope_frequencies(10, 10000.0));
  for (const int64_t n : {0, 1, 37}) {
    for (const RopeDirection direction : {RopeDirection::kForward, RopeDirection::kBackward}) {
      const at::Tensor positions = at::arange(n, at::kInt) % 23 + 27;
      const at::Tensor found = random_values({n, (6 + 2 * 2) * 10}, dtype(), 7), expected = found.clone();
      const at::Tensor before = found.clone();
      apply_rope(found, positions, table, 6, 2, direction);
      apply_rope_reference(expected, positions, table, 6, 2, direction);
      EXPECT_TRUE(is_close(found, expected, elementwise_tolerance(dtype()))) << n;
      EXPECT_TRUE(at::equal(found.narrow(1, 80, 20), before.narrow(1, 80, 20))) << "value heads changed";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RopeTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

TEST(RopeTable, EqualsItsTwinAndStartsUnrotated) {
  const at::Tensor table = make_rope_table(600, rope_frequencies(16, 100000.0));
  EXPECT_TRUE(is_close(table, make_rope_table_reference(600, 16, 100000.0), {.relative = 0, .of_largest = 1e-4}))
      << "angles up to 600 in float32: one rounding is 600 * 6e-8 = 3.6e-5";
  EXPECT_TRUE(at::equal(table[0], at::cat({at::ones({8}), at::zeros({8})})));
}

TEST(RopeTable, ScaledFrequenciesEqualTheirTwin) {
  const RopeScaling linear{.type = RopeScalingType::kLinear, .factor = 4};
  // Of 8 pairs some waves are short, some long and some between.
  const RopeScaling llama3{.type = RopeScalingType::kLlama3, .factor = 8, .original_positions = 64};
  for (const RopeScaling& scaling : {linear, llama3}) {
    const at::Tensor table = make_rope_table(600, rope_frequencies(16, 500.0, scaling));
    EXPECT_TRUE(
        is_close(table, make_rope_table_reference(600, 16, 500.0, scaling), {.relative = 0, .of_largest = 1e-4}));
    EXPECT_FALSE(at::allclose(table, make_rope_table_reference(600, 16, 500.0)));
  }
}

TEST(Rope, BackwardUndoesForward) {
  const at::Tensor table = make_rope_table(40, rope_frequencies(6, 10000.0)), positions = at::arange(40, at::kInt);
  const at::Tensor qkv = random_values({40, 3 * 6}, at::kFloat, 14), before = qkv.clone();
  apply_rope(qkv, positions, table, 1, 1, RopeDirection::kForward);
  apply_rope(qkv, positions, table, 1, 1, RopeDirection::kBackward);
  EXPECT_TRUE(is_close(qkv, before, kElementwise));
}

TEST(Rope, PositionOutsideTheTableThrows) {
  const at::Tensor table = make_rope_table(4, rope_frequencies(6, 10000.0)),
                   qkv = random_values({1, 18}, at::kFloat, 14);
  EXPECT_THROW(apply_rope(qkv, int_tensor({4}), table, 1, 1, RopeDirection::kForward), Error);
  EXPECT_THROW(apply_rope(qkv, int_tensor({-1}), table, 1, 1, RopeDirection::kForward), Error);
}

}  // namespace
}  // namespace qtune
