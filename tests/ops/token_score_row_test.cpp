// The row algorithm against a naive float64 loop.
#include "kernels/token_score_row.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "qtune/base/rng.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct NaiveScores {
  double logsumexp = 0, entropy = 0;
};

NaiveScores naive_scores(const std::vector<float>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float z : logits) sum += std::exp(z - top);
  NaiveScores s{.logsumexp = top + std::log(sum)};
  for (const float z : logits) {
    const double logp = z - s.logsumexp;
    if (z != -kInfinity) s.entropy -= std::exp(logp) * logp;
  }
  return s;
}

RowState fold(const std::vector<float>& logits, size_t begin, size_t end) {
  RowState state;
  for (size_t i = begin; i < end; ++i) update(state, logits[i]);
  return state;
}

RowState fold(const std::vector<float>& logits) { return fold(logits, 0, logits.size()); }

std::vector<float> random_logits(size_t v, uint64_t seed, double scale, double offset) {
  CounterRng rng(seed, 0);
  std::vector<float> logits(v);
  for (float& z : logits) z = static_cast<float>(offset + scale * (2 * rng.next_unit() - 1));
  return logits;
}

struct Row {
  std::string name;
  std::vector<float> logits;
};

std::vector<Row> rows() {
  std::vector<Row> rows;
  for (const size_t v : {1, 2, 3, 7, 64, 331, 5003}) {
    for (const double scale : {0.0, 1.0, 10.0, 60.0}) {
      for (const double offset : {0.0, 1e4, -1e4}) {
        rows.push_back(
            {"V " + std::to_string(v) + " scale " + std::to_string(scale) + " offset " + std::to_string(offset),
             random_logits(v, v, scale, offset)});
      }
    }
  }
  std::vector<float> masked = random_logits(331, 9, 5, 0);
  for (size_t i = 0; i < masked.size(); i += 3) masked[i] = -kInfinity;
  rows.push_back({"every third word masked, the first too", masked});
  std::vector<float> single(331, -kInfinity);
  single[200] = 3;
  rows.push_back({"one word left", single});
  std::vector<float> tied = random_logits(331, 10, 1, 0);
  tied[5] = tied[300] = 40;
  rows.push_back({"two largest", tied});
  std::vector<float> rising(331);
  std::iota(rising.begin(), rising.end(), -100.0f);
  rows.push_back({"every word a new maximum", rising});
  return rows;
}

/// logsumexp is near the largest logit, so it carries that logit's float32 rounding.
double logsumexp_tolerance(const NaiveScores& truth) {
  return kScoreNats + 2 * kFloatRounding * std::abs(truth.logsumexp);
}

TEST(TokenScoreRow, UpdateEqualsTheNaiveFloat64Loop) {
  for (const Row& row : rows()) {
    const RowState state = fold(row.logits);
    const NaiveScores truth = naive_scores(row.logits);
    EXPECT_NEAR(logsumexp(state), truth.logsumexp, logsumexp_tolerance(truth)) << row.name;
    EXPECT_NEAR(entropy(state), truth.entropy, kScoreNats * (1 + truth.entropy)) << row.name;
  }
}

TEST(TokenScoreRow, StatesOfAnyPartsCombineInAnyOrder) {
  for (const Row& row : rows()) {
    const NaiveScores truth = naive_scores(row.logits);
    for (const size_t num_parts : {2, 3, 37}) {
      // 37 parts of a short row: most are empty.
      std::vector<RowState> parts;
      for (size_t p = 0; p < num_parts; ++p) {
        const size_t v = row.logits.size();
        parts.push_back(fold(row.logits, p * v / num_parts, (p + 1) * v / num_parts));
      }
      for (uint64_t order = 0; order < 4; ++order) {
        RowState forward, backward;
        for (const int64_t p : random_permutation(order, 1, static_cast<int64_t>(num_parts))) {
          forward = combine(forward, parts[static_cast<size_t>(p)]);
          backward = combine(parts[static_cast<size_t>(p)], backward);
        }
        for (const RowState& state : {forward, backward}) {
          EXPECT_NEAR(logsumexp(state), truth.logsumexp, logsumexp_tolerance(truth)) << row.name;
          EXPECT_NEAR(entropy(state), truth.entropy, kScoreNats * (1 + truth.entropy)) << row.name;
        }
      }
    }
  }
}

TEST(TokenScoreRow, EntropyIsNeverNegative) {
  for (const Row& row : rows()) EXPECT_GE(entropy(fold(row.logits)), 0.0f) << row.name;
  // One word that has nearly all the probability: a form that subtracts large terms goes below 0 here.
  for (float gap = 0; gap < 120; gap += 0.37f) EXPECT_GE(entropy(fold({1e4f + gap, 1e4f, 1e4f})), 0.0f) << gap;
}

TEST(TokenScoreRow, EqualLogitsGiveTheLogarithmOfTheirNumber) {
  for (const float value : {-1e4f, 0.0f, 1e4f}) {
    const RowState state = fold(std::vector<float>(331, value));
    EXPECT_NEAR(entropy(state), std::log(331.0), kScoreNats);
    EXPECT_EQ(entropy(fold({value})), 0.0f);
    EXPECT_EQ(logsumexp(fold({value})), value);
  }
}

TEST(TokenScoreRow, MaskedWordsCombineWithoutATrace) {
  const RowState state = fold({1, 2, 3}), masked = fold({-kInfinity, -kInfinity});
  for (const RowState& both : {combine(state, masked), combine(masked, state)}) {
    EXPECT_EQ(both.max, state.max);
    EXPECT_EQ(both.sum, state.sum);
    EXPECT_EQ(both.wsum, state.wsum);
  }
}

TEST(TokenScoreRow, NanOrInfinityAnywhereGivesNonFiniteScores) {
  for (const float bad : {std::nanf(""), kInfinity}) {
    for (const size_t place : {0, 1, 4}) {
      std::vector<float> logits{1, 5, 2, 3, 4};
      logits[place] = bad;
      const RowState whole = fold(logits), split = combine(fold(logits, 0, 2), fold(logits, 2, 5));
      for (const RowState& state : {whole, split, combine(fold({7}), whole)}) {
        EXPECT_FALSE(std::isfinite(logsumexp(state))) << bad << " at " << place;
        EXPECT_FALSE(std::isfinite(entropy(state))) << bad << " at " << place;
      }
    }
  }
}

TEST(TokenScoreRow, RowWithoutAnyFiniteLogitGivesNonFiniteScores) {
  const RowState state = fold({-kInfinity, -kInfinity});
  EXPECT_FALSE(std::isfinite(logsumexp(state)));
  EXPECT_FALSE(std::isfinite(entropy(state)));
}

}  // namespace
}  // namespace qtune
