// Token score kernels against a float64 loop over the same logits.
#include "kernels/token_score.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "logits_rows.h"
#include "simt/orders.h"

namespace qtune {
namespace {

/// What is promised of scores: 1e-5 nats. A float32 fold of up to 49,152 terms, each thread's part at most 200 long,
/// was found to stay below 3e-6. logsumexp and a large nll add the rounding of their own size. bfloat16 logits are
/// exact inputs, so the same holds for them; scores rounded to bfloat16, as a plain log_softmax gives, are 1e-2 off.
double score_tolerance(double value) { return 1e-5 + 2 * kFloatRounding * std::abs(value); }

struct Scores {
  std::vector<float> nll, entropy, logsumexp;
};

/// Scores by way of chunks that begin at the given words, in the given order.
template <class T>
Scores scores_of(Logits<T>& logits, const std::vector<int32_t>& targets, const std::vector<int64_t>& begins = {0}) {
  const int64_t n = logits.num_rows;
  auto make = [n] { return simt::poisoned<float>(n); };
  auto max = make(), sum = make(), wsum = make(), target_logit = make();
  const TokenScoreState state{max.data(), sum.data(), wsum.data(), target_logit.data()};
  for (size_t c = 0; c < begins.size(); ++c) {
    int64_t end = logits.num_words;
    for (const int64_t other : begins) {
      if (other > begins[c]) end = std::min(end, other);
    }
    // A buffer of its own: a target in another chunk must not be read from here.
    Logits<T> chunk = logits.words(begins[c], end);
    const LogitsTile tile{n, chunk.num_words, chunk.stride, begins[c], targets.data()};
    const auto kind = c == 0 ? ChunkKind::kFirst : ChunkKind::kNext;
    EXPECT_EQ(launch_token_scores_chunk(chunk.data(), tile, kind, state, nullptr), cudaSuccess);
  }
  Scores scores{make(), make(), make()};
  EXPECT_EQ(launch_token_scores_finish(n, targets.data(), state,
                                       {scores.nll.data(), scores.entropy.data(), scores.logsumexp.data()}, nullptr),
            cudaSuccess);
  return scores;
}

template <class T>
void expect_true_scores(Logits<T>& logits, const std::vector<int32_t>& targets, const Scores& scores) {
  for (int64_t r = 0; r < logits.num_rows; ++r) {
    const auto i = static_cast<size_t>(r);
    const Truth truth = truth_of(logits, r, targets[i]);
    ASSERT_NEAR(scores.nll[i], truth.nll, score_tolerance(truth.nll)) << "row " << r;
    ASSERT_NEAR(scores.entropy[i], truth.entropy, score_tolerance(truth.entropy)) << "row " << r;
    ASSERT_NEAR(scores.logsumexp[i], truth.logsumexp, score_tolerance(truth.logsumexp)) << "row " << r;
    ASSERT_GE(scores.entropy[i], 0.0f) << "row " << r;
  }
}

template <class T>
class TokenScoreKernel : public testing::Test {};
TYPED_TEST_SUITE(TokenScoreKernel, ComputeTypes, ComputeTypeNames);

TYPED_TEST(TokenScoreKernel, EqualsTheFloat64LoopForAnyVocabularyAndAddress) {
  for (const int64_t v : kVocabularies) {
    const int64_t rows = v > 5000 ? 2 : 11;
    for (const int64_t gap : {0, 3}) {
      SCOPED_TRACE("vocabulary " + std::to_string(v) + ", gap " + std::to_string(gap));
      Logits<TypeParam> logits(rows, v, gap, gap == 0 ? 0 : 1);
      fill(logits);
      const std::vector<int32_t> targets = spread_targets(rows, v);
      expect_true_scores(logits, targets, scores_of(logits, targets));
    }
  }
}

TYPED_TEST(TokenScoreKernel, ScoresDoNotDependOnTheOrderOfThreads) {
  for (const int64_t v : {33, 2500}) {
    Logits<TypeParam> logits(5, v, 1);
    fill(logits);
    const std::vector<int32_t> targets = spread_targets(5, v);
    const Scores usual = scores_of(logits, targets);
    simt::for_each_order([&] {
      const Scores scores = scores_of(logits, targets);
      EXPECT_EQ(scores.nll, usual.nll);
      EXPECT_EQ(scores.entropy, usual.entropy);
      EXPECT_EQ(scores.logsumexp, usual.logsumexp);
    });
  }
}

TYPED_TEST(TokenScoreKernel, ChunksOfTheVocabularyComeInAnyOrder) {
  for (const int64_t v : {33, 5003}) {
    Logits<TypeParam> logits(10, v);
    fill(logits);
    const std::vector<int32_t> targets = spread_targets(10, v);
    for (const std::vector<int64_t>& begins :
         {std::vector<int64_t>{0, 1, 7, v / 2, v - 1}, {v / 2, 0}, {v - 1, v / 2, 7, 1, 0}, {0, v}}) {
      expect_true_scores(logits, targets, scores_of(logits, targets, begins));
    }
  }
}

TYPED_TEST(TokenScoreKernel, StatesOfTilesMergeToTheWholeRows) {
  for (const int64_t num_rows : {1, 33, 70}) {
    const int64_t v = 1003, words = 100, num_tiles = 11;
    Logits<TypeParam> logits(num_rows, v);
    fill(logits);
    const std::vector<int32_t> targets = spread_targets(num_rows, v);
    auto max = simt::poisoned<float>(num_tiles * num_rows), sum = max, wsum = max;
    auto target_logit = simt::poisoned<float>(num_rows), whole_max = target_logit, whole_sum = whole_max,
         whole_wsum = whole_max;
    for (int64_t t = 0; t < num_tiles; ++t) {
      Logits<TypeParam> tile = logits.words(t * words, std::min(v, (t + 1) * words));
      auto tile_target = simt::poisoned<float>(num_rows);
      const int64_t first = t * num_rows;
      ASSERT_EQ(launch_token_scores_chunk(
                    tile.data(), {num_rows, tile.num_words, tile.stride, t * words, targets.data()}, ChunkKind::kFirst,
                    {max.data() + first, sum.data() + first, wsum.data() + first, tile_target.data()}, nullptr),
                cudaSuccess);
      for (int64_t r = 0; r < num_rows; ++r) {
        const auto i = static_cast<size_t>(r);
        if (targets[i] / words == t) target_logit[i] = tile_target[i];
      }
    }
    const TokenScoreState state{whole_max.data(), whole_sum.data(), whole_wsum.data(), target_logit.data()};
    ASSERT_EQ(launch_merge_row_states(num_rows, num_tiles, {max.data(), sum.data(), wsum.data()}, state, nullptr),
              cudaSuccess);
    auto make = [&] { return simt::poisoned<float>(num_rows); };
    Scores scores{make(), make(), make()};
    ASSERT_EQ(launch_token_scores_finish(num_rows, targets.data(), state,
                                         {scores.nll.data(), scores.entropy.data(), scores.logsumexp.data()}, nullptr),
              cudaSuccess);
    expect_true_scores(logits, targets, scores);
  }
}

TYPED_TEST(TokenScoreKernel, NoRowsLaunchNothing) {
  EXPECT_EQ(launch_merge_row_states(0, 3, {}, {}, nullptr), cudaSuccess);
  Logits<TypeParam> logits(0, 1000);
  EXPECT_TRUE(scores_of(logits, {}).nll.empty());
}

TYPED_TEST(TokenScoreKernel, MaskedWordsCountForNothing) {
  Logits<TypeParam> logits(3, 2500);
  fill(logits);
  for (int64_t j = 0; j < 2500; ++j) {
    if (j % 3 != 1) logits.at(0, j) = narrow<TypeParam>(-kInfinity);
    if (j < 2400) logits.at(1, j) = narrow<TypeParam>(-kInfinity);
    if (j != 77) logits.at(2, j) = narrow<TypeParam>(-kInfinity);
  }
  const std::vector<int32_t> targets{1, 2499, 77};
  const Scores scores = scores_of(logits, targets, {0, 1000});
  expect_true_scores(logits, targets, scores);
  EXPECT_EQ(scores.nll[2], 0.0f);
}

TYPED_TEST(TokenScoreKernel, OffsetsOfAllLogitsCostNoAccuracy) {
  // 3e30: all logits of a row are equal there.
  for (const double shift : {1e4, -1e4, 3e30}) {
    Logits<TypeParam> logits(2, 2500);
    fill(logits, 60, shift);
    const std::vector<int32_t> targets{0, 2499};
    expect_true_scores(logits, targets, scores_of(logits, targets));
  }
}

TYPED_TEST(TokenScoreKernel, NanOrInfinityAnywhereGivesNonFiniteScores) {
  for (const float bad : {std::nanf(""), kInfinity}) {
    for (const int64_t place : {0, 5, 1500, 2499}) {
      Logits<TypeParam> logits(3, 2500);
      fill(logits);
      logits.at(1, place) = narrow<TypeParam>(bad);
      const Scores scores = scores_of(logits, {7, 7, 7}, {0, 1000});
      EXPECT_FALSE(std::isfinite(scores.nll[1])) << bad << " at " << place;
      EXPECT_FALSE(std::isfinite(scores.entropy[1])) << bad << " at " << place;
      EXPECT_FALSE(std::isfinite(scores.logsumexp[1])) << bad << " at " << place;
      EXPECT_TRUE(std::isfinite(scores.nll[0]) && std::isfinite(scores.nll[2]));
    }
  }
}

TYPED_TEST(TokenScoreKernel, RowWithoutAnyFiniteLogitGivesNonFiniteScores) {
  Logits<TypeParam> logits(1, 40);
  for (int64_t j = 0; j < 40; ++j) logits.at(0, j) = narrow<TypeParam>(-kInfinity);
  const Scores scores = scores_of(logits, {3});
  EXPECT_FALSE(std::isfinite(scores.nll[0]) || std::isfinite(scores.entropy[0]) || std::isfinite(scores.logsumexp[0]));
}

TYPED_TEST(TokenScoreKernel, NanAmongMaskedWordsCounts) {
  // The maximum of a load of -inf and NaN is -inf: a shortcut for "all masked" would drop the NaN.
  Logits<TypeParam> logits(1, 16);
  for (int64_t j = 0; j < 16; ++j) logits.at(0, j) = narrow<TypeParam>(-kInfinity);
  logits.at(0, 3) = narrow<TypeParam>(std::nanf(""));
  EXPECT_TRUE(std::isnan(scores_of(logits, {3}).logsumexp[0]));
}

TYPED_TEST(TokenScoreKernel, TargetInNoChunkGivesNan) {
  Logits<TypeParam> logits(1, 40);
  fill(logits);
  EXPECT_TRUE(std::isnan(scores_of(logits, {40}).nll[0]));
}

TYPED_TEST(TokenScoreKernel, IgnoredRowsGiveZeroWhateverTheyHold) {
  Logits<TypeParam> logits(3, 2500);  // NaN all over
  const Scores scores = scores_of(logits, {-1, -1, -1}, {0, 1000});
  for (const std::vector<float>& zeros : {scores.nll, scores.entropy, scores.logsumexp}) {
    EXPECT_EQ(zeros, std::vector<float>(3, 0.0f));
  }
}

TEST(TokenScoreKernelRows, IgnoredRowsAreNotRead) {
  const std::vector<float> no_logits(1);  // AddressSanitizer sees any load of 16 bytes
  for (const int64_t v : {33, 2500}) {
    const std::vector<int32_t> targets(static_cast<size_t>(kManyTokenRows), kIgnoredTarget);
    auto max = simt::poisoned<float>(kManyTokenRows), sum = max, wsum = max, target_logit = max;
    const TokenScoreState state{max.data(), sum.data(), wsum.data(), target_logit.data()};
    const LogitsTile tile{kManyTokenRows, v, 0, 0, targets.data()};
    ASSERT_EQ(launch_token_scores_chunk(no_logits.data(), tile, ChunkKind::kFirst, state, nullptr), cudaSuccess);
    EXPECT_EQ(max, std::vector<float>(max.size(), -kInfinity));
    EXPECT_EQ(sum, std::vector<float>(max.size(), 0.0f));
    EXPECT_EQ(wsum, sum);
    EXPECT_EQ(simt::first_poisoned(target_logit), -1);  // another NaN
  }
}

// One type is enough: the walk over rows knows nothing of it, and these are 30 million shuffles.
TEST(TokenScoreKernelRows, MoreThan65535Rows) {
  Logits<float> logits(kManyTokenRows, 1);
  fill(logits);
  std::vector<int32_t> targets(static_cast<size_t>(kManyTokenRows), 0);
  targets.front() = targets.back() = kIgnoredTarget;
  const Scores scores = scores_of(logits, targets);
  for (int64_t r = 0; r < kManyTokenRows; ++r) {
    const auto i = static_cast<size_t>(r);
    ASSERT_EQ(scores.logsumexp[i], targets[i] == kIgnoredTarget ? 0.0f : logits.at(r, 0)) << r;
    ASSERT_EQ(scores.nll[i], 0.0f) << r;
    ASSERT_EQ(scores.entropy[i], 0.0f) << r;
  }
}

}  // namespace
}  // namespace qtune
