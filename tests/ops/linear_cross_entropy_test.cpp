// The fused head against float64 and its plain twin, over several chunks of rows and an odd vocabulary.
#include "qtune/ops/linear_cross_entropy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "qtune/ops/reference.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

constexpr int64_t kVocabulary = 331;

struct Inputs {
  at::Tensor hidden_ND, head_VD, targets_N;
};

/// Logits are multiples of 1/16 up to 16 in size: exact in bfloat16, so that scores of both dtypes can be held against
/// float64 without an allowance for the rounding of logits.
Inputs exact_inputs(int64_t n, int64_t v, at::ScalarType dtype, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return {.hidden_ND = (at::randint(-2, 3, {n, 16}, generator) / 4.0).to(dtype),
          .head_VD = (at::randint(-8, 9, {v, 16}, generator) / 4.0).to(dtype),
          .targets_N = at::randint(0, v, {n}, generator).to(at::kInt)};
}

RowScores float64_scores(const Inputs& in) {
  return token_score_formula(at::matmul(in.hidden_ND.to(at::kDouble), in.head_VD.to(at::kDouble).t()), in.targets_N);
}

double largest_error(const at::Tensor& found, const at::Tensor& truth) {
  return found.numel() == 0 ? 0 : (found.to(at::kDouble) - truth).abs().max().item<double>();
}

class LinearCrossEntropyTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }
};

TEST_P(LinearCrossEntropyTest, ScoresEqualFloat64) {
  for (const int64_t v : {int64_t{1}, kVocabulary}) {
    for (const int64_t n : {0, 1, 65}) {
      const Inputs in = exact_inputs(n, v, dtype(), 1);
      const RowScores found = linear_cross_entropy(in.hidden_ND, in.head_VD, in.targets_N), truth = float64_scores(in);
      EXPECT_EQ(found.nll_N.sizes(), at::IntArrayRef({n}));
      EXPECT_LE(largest_error(found.nll_N, truth.nll_N), kScoreNats) << n << " rows of " << v;
      EXPECT_LE(largest_error(found.entropy_N, truth.entropy_N), kScoreNats) << n << " rows of " << v;
      EXPECT_LE(largest_error(found.logsumexp_N, truth.logsumexp_N), kScoreNats) << n << " rows of " << v;
      EXPECT_TRUE((found.entropy_N >= 0).all().item<bool>());
    }
  }
}

TEST_P(LinearCrossEntropyTest, ScoresEqualTheTwin) {
  const at::Tensor hidden = random_values({65, 63}, dtype(), 2),
                   head = random_values({kVocabulary, 63}, dtype(), 3, 0.3);
  const at::Tensor targets = at::arange(65, at::kInt) * 5;
  const RowScores found = linear_cross_entropy(hidden, head, targets);
  const RowScores expected = linear_cross_entropy_reference(hidden, head, targets);
  // A bfloat16 logit up to 16 may round to either neighbour when its sum is taken in another order.
  const double rounding = dtype() == at::kBFloat16 ? 2 * kBFloat16Rounding * 16 : 0;
  EXPECT_LE(largest_error(found.nll_N, expected.nll_N), kScoreNats + rounding);
  EXPECT_LE(largest_error(found.entropy_N, expected.entropy_N), kScoreNats + rounding);
  EXPECT_LE(largest_error(found.logsumexp_N, expected.logsumexp_N), kScoreNats + rounding);
}

TEST_P(LinearCrossEntropyTest, GradientsEqualTheTwin) {
  for (const int64_t v : {int64_t{1}, kVocabulary}) {
    for (const int64_t n : {0, 1, 65}) {
      const Inputs in = exact_inputs(n, v, dtype(), 4);
      const at::Tensor dhidden = poisoned({n, 16}, dtype()), dhidden_twin = poisoned({n, 16}, dtype());
      const at::Tensor dhead = random_values({v, 16}, at::kFloat, 5), dhead_twin = dhead.clone();  // the op adds
      const RowScores found = linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, dhidden, dhead);
      linear_cross_entropy_backward_reference(in.hidden_ND, in.head_VD, in.targets_N, dhidden_twin, dhead_twin);
      const Tolerance tolerance = dtype() == at::kFloat ? kSums : kProductsBFloat16;
      EXPECT_TRUE(is_close(dhidden, dhidden_twin, tolerance)) << n << " rows of " << v;
      EXPECT_TRUE(is_close(dhead, dhead_twin, tolerance)) << n << " rows of " << v;
      EXPECT_TRUE(at::equal(found.nll_N, linear_cross_entropy(in.hidden_ND, in.head_VD, in.targets_N).nll_N))
          << "the training pass and the score pass must report the same loss";
    }
  }
}

TEST_P(LinearCrossEntropyTest, WeightsMultiplyTheGradientAndNotTheLoss) {
  const Inputs in = exact_inputs(65, kVocabulary, dtype(), 4);
  const at::Tensor weights = at::ones({65}, at::kFloat);
  weights.narrow(0, 10, 20).fill_(2);
  weights[64] = 0;
  const at::Tensor dhidden = poisoned({65, 16}, dtype()), dhidden_twin = poisoned({65, 16}, dtype());
  const at::Tensor dhead = random_values({kVocabulary, 16}, at::kFloat, 5), dhead_twin = dhead.clone();
  const RowScores found =
      linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, dhidden, dhead, weights);
  linear_cross_entropy_backward_reference(in.hidden_ND, in.head_VD, in.targets_N, dhidden_twin, dhead_twin, weights);
  const Tolerance tolerance = dtype() == at::kFloat ? kSums : kProductsBFloat16;
  EXPECT_TRUE(is_close(dhidden, dhidden_twin, tolerance));
  EXPECT_TRUE(is_close(dhead, dhead_twin, tolerance));
  EXPECT_TRUE(at::equal(found.nll_N, linear_cross_entropy(in.hidden_ND, in.head_VD, in.targets_N).nll_N));

  // Doubling is exact, and ones are no weights.
  const at::Tensor plain = poisoned({65, 16}, dtype()), ones = poisoned({65, 16}, dtype());
  linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, plain, {});
  linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, ones, {}, at::ones({65}, at::kFloat));
  EXPECT_TRUE(at::equal(ones, plain));
  EXPECT_TRUE(is_close(dhidden.narrow(0, 10, 20), plain.narrow(0, 10, 20) * 2, tolerance));
  EXPECT_TRUE(at::equal(dhidden[64], at::zeros({16}, dtype())));
}

TEST_P(LinearCrossEntropyTest, WeightsOfAnotherLengthAreRefused) {
  const Inputs in = exact_inputs(4, 8, dtype(), 4);
  EXPECT_THROW(linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, poisoned({4, 16}, dtype()), {},
                                             at::ones({3}, at::kFloat)),
               Error);
}

TEST_P(LinearCrossEntropyTest, FrozenHeadChangesNothingElse) {
  const Inputs in = exact_inputs(65, kVocabulary, dtype(), 4);
  const at::Tensor dhidden = poisoned({65, 16}, dtype()), frozen = poisoned({65, 16}, dtype());
  linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, dhidden, at::zeros({kVocabulary, 16}));
  linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, frozen, {});
  EXPECT_TRUE(at::equal(frozen, dhidden));
}

TEST_P(LinearCrossEntropyTest, ChunksOfRowsChangeNothing) {
  // A vocabulary that fits into the buffer of logits only a few times, so that there are many chunks and a short last
  // one.
  const int64_t v = 100'003, n = 400;
  const Inputs in = exact_inputs(n, v, dtype(), 6);
  const at::Tensor dhidden = poisoned({n, 16}, dtype()), dhead = at::zeros({v, 16}, at::kFloat);
  const RowScores found = linear_cross_entropy_backward(in.hidden_ND, in.head_VD, in.targets_N, dhidden, dhead);
  for (const int64_t i : {0, 251, 399}) {
    const Inputs row{in.hidden_ND.narrow(0, i, 1), in.head_VD, in.targets_N.narrow(0, i, 1)};
    const RowScores truth = float64_scores(row);
    // Equal words round the same way at every addition of a float32 sum, so that the errors of many add up.
    EXPECT_LE(largest_error(found.nll_N.narrow(0, i, 1), truth.nll_N), kLargeVocabularyNats) << i;
    EXPECT_LE(largest_error(found.entropy_N.narrow(0, i, 1), truth.entropy_N), kLargeVocabularyNats * 13) << i;
  }
  EXPECT_FALSE(dhidden.isnan().any().item<bool>());
  // Rows of softmax minus onehot sum to 0, so the columns of dhead do too; bfloat16 rounds each of its terms.
  const double rounding = dtype() == at::kBFloat16 ? 2 * kBFloat16Rounding : 1e-5;
  EXPECT_LE(dhead.to(at::kDouble).sum(0).abs().max().item<double>(), rounding * n);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LinearCrossEntropyTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

/// One column, so that the logits are the head's values themselves.
RowScores scores_of_logits(const std::vector<float>& logits, int32_t target) {
  const at::Tensor head = at::tensor(logits, at::kFloat).unsqueeze(1);
  return linear_cross_entropy(at::ones({1, 1}), head, int_tensor({target}));
}

TEST(LinearCrossEntropy, HugeLogitsDoNotOverflow) {
  const RowScores s = scores_of_logits({1e4f, 1e4f, 1e4f - 50, -1e4f}, 1);
  EXPECT_NEAR(s.nll_N.item<double>(), std::log(2.0), 1e-3);  // 1e4 + ln 2 is known to 1e4 * 6e-8
  EXPECT_NEAR(s.entropy_N.item<double>(), std::log(2.0), kScoreNats);
}

TEST(LinearCrossEntropy, TargetThatHasAllTheProbabilityCostsNothing) {
  const RowScores s = scores_of_logits({0, 200, 0}, 1);
  EXPECT_EQ(s.nll_N.item<float>(), 0.0f);
  EXPECT_EQ(s.entropy_N.item<float>(), 0.0f);
}

TEST(LinearCrossEntropy, NonFiniteLogitGivesNonFiniteScoresOfItsRowOnly) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    at::Tensor hidden = random_values({3, 8}, at::kFloat, 7);
    const at::Tensor head = random_values({kVocabulary, 8}, at::kFloat, 8), targets = int_tensor({1, 2, 3});
    hidden[1][0] = bad;
    const RowScores s = linear_cross_entropy(hidden, head, targets);
    for (const at::Tensor& scores : {s.nll_N, s.entropy_N}) {
      EXPECT_TRUE(scores[0].isfinite().item<bool>());
      EXPECT_FALSE(scores[1].isfinite().item<bool>());
      EXPECT_TRUE(scores[2].isfinite().item<bool>());
    }
  }
}

TEST(LinearCrossEntropy, SingleBadWordMakesTheRowNonFinite) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    for (const size_t place : {0, 8, 20}) {
      std::vector<float> logits(21, 0.5f);
      logits[place] = bad;
      const RowScores s = scores_of_logits(logits, 3);
      EXPECT_FALSE(s.nll_N.isfinite().item<bool>()) << bad << " at " << place;
      EXPECT_FALSE(s.entropy_N.isfinite().item<bool>()) << bad << " at " << place;
    }
  }
}

TEST(LinearCrossEntropy, WordOfLogitMinusInfinityHasNoPart) {
  std::vector<float> logits(21, 0.5f);
  logits[0] = logits[13] = logits[20] = -INFINITY;
  const RowScores s = scores_of_logits(logits, 3);
  EXPECT_NEAR(s.nll_N.item<double>(), std::log(18.0), kScoreNats);
  EXPECT_NEAR(s.entropy_N.item<double>(), std::log(18.0), kScoreNats);
}

TEST(LinearCrossEntropy, TargetOutsideTheVocabularyIsNamed) {
  const Inputs in = exact_inputs(3, kVocabulary, at::kFloat, 9);
  for (const int32_t bad : {-100, -1, 331, 2'000'000'000}) {
    const at::Tensor targets = int_tensor({0, bad, 1});
    try {
      linear_cross_entropy(in.hidden_ND, in.head_VD, targets);
      ADD_FAILURE() << "accepted " << bad;
    } catch (const Error& e) {
      EXPECT_THAT(e.what(), testing::HasSubstr(std::to_string(bad)));
      EXPECT_THAT(e.what(), testing::HasSubstr("row 1"));
    }
    const at::Tensor dhidden = at::zeros({3, 16}), dhead = at::zeros({kVocabulary, 16});
    EXPECT_THROW(linear_cross_entropy_backward(in.hidden_ND, in.head_VD, targets, dhidden, dhead), Error);
  }
}

}  // namespace
}  // namespace qtune
