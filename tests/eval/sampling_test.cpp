#include "qtune/eval/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace qtune {
namespace {

/// The largest value that a draw can take.
constexpr double kLastDraw = 1 - 0x1p-53;

int32_t choose(const std::vector<float>& logits, const SamplingOptions& options, double draw) {
  return choose_token(logits, options, draw);
}

/// Logits of given probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

/// Tokens of increasing draws, each once: what can be chosen, most likely first.
std::vector<int32_t> choices(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<int32_t> found;
  for (double draw = 0; draw < 1; draw += 0.005) {
    const int32_t id = choose(logits, options, draw);
    if (found.empty() || found.back() != id) found.push_back(id);
  }
  return found;
}

TEST(ChooseToken, GreedyTakesTheMostLikelyWhateverTheDraw) {
  for (const double draw : {0.0, 0.5, kLastDraw}) EXPECT_EQ(choose({1, 7, 3}, {}, draw), 1);
}

TEST(ChooseToken, GreedyTieGoesToTheLowestId) { EXPECT_EQ(choose({1, 7, 3, 7}, {}, 0.9), 1); }

TEST(ChooseToken, GreedyIgnoresTopKAndTopP) {
  EXPECT_EQ(choose({1, 7, 3}, {.temperature = 0, .top_k = 2, .top_p = 0.1}, 0.9), 1);
}

TEST(ChooseToken, DrawWalksThroughTheProbabilitiesFromTheLargest) {
  const std::vector<float> logits = logits_of({0.2, 0.5, 0.3});
  const SamplingOptions options{.temperature = 1};
  EXPECT_EQ(choose(logits, options, 0.0), 1);
  EXPECT_EQ(choose(logits, options, 0.499), 1);
  EXPECT_EQ(choose(logits, options, 0.501), 2);
  EXPECT_EQ(choose(logits, options, 0.799), 2);
  EXPECT_EQ(choose(logits, options, 0.801), 0);
  EXPECT_EQ(choose(logits, options, kLastDraw), 0);
}

TEST(ChooseToken, TemperatureSharpensAndFlattens) {
  // Odds 4 : 1 become 16 : 1 at temperature 1/2 and 2 : 1 at 2.
  const std::vector<float> logits = logits_of({0.8, 0.2});
  EXPECT_EQ(choose(logits, {.temperature = 0.5}, 16.0 / 17 - 1e-6), 0);
  EXPECT_EQ(choose(logits, {.temperature = 0.5}, 16.0 / 17 + 1e-6), 1);
  EXPECT_EQ(choose(logits, {.temperature = 2}, 2.0 / 3 - 1e-6), 0);
  EXPECT_EQ(choose(logits, {.temperature = 2}, 2.0 / 3 + 1e-6), 1);
}

TEST(ChooseToken, TinyTemperatureIsGreedyAndDoesNotOverflow) {
  EXPECT_EQ(choose({1e4f, -1e4f, 9e3f}, {.temperature = 1e-6}, kLastDraw), 0);
}

TEST(ChooseToken, TopKLeavesTheKMostLikely) {
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.2, 0.3});
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_k = 1}), (std::vector<int32_t>{1}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_k = 3}), (std::vector<int32_t>{1, 3, 2}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_k = 0}), (std::vector<int32_t>{1, 3, 2, 0}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_k = 99}), (std::vector<int32_t>{1, 3, 2, 0}));
}

TEST(ChooseToken, TopKTieKeepsTheLowerId) {
  EXPECT_EQ(choices({5, 5, 5}, {.temperature = 1, .top_k = 2}), (std::vector<int32_t>{0, 1}));
}

TEST(ChooseToken, TopPLeavesTheFewestThatHoldTheShare) {
  const std::vector<float> logits = logits_of({0.2, 0.5, 0.3});
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_p = 1e-9}), (std::vector<int32_t>{1})) << "at least one";
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_p = 0.49}), (std::vector<int32_t>{1}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_p = 0.51}), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_p = 0.81}), (std::vector<int32_t>{1, 2, 0}));
}

TEST(ChooseToken, TopPCountsTheProbabilityThatTopKLeft) {
  // Of the two most likely, 0.5 : 0.3, the first holds 0.625.
  const std::vector<float> logits = logits_of({0.2, 0.5, 0.3});
  EXPECT_EQ(choices(logits, {.temperature = 1, .top_k = 2, .top_p = 0.6}), (std::vector<int32_t>{1}));
}

TEST(ChooseToken, MinPLeavesWhatIsLikelyEnoughBesideTheLikeliest) {
  const std::vector<float> logits = logits_of({0.2, 0.5, 0.3});
  EXPECT_EQ(choices(logits, {.temperature = 1, .min_p = 1}), (std::vector<int32_t>{1}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .min_p = 0.59}), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(choices(logits, {.temperature = 1, .min_p = 0.39}), (std::vector<int32_t>{1, 2, 0}));
}

/// 5000 tokens, so that only a part of them is sorted for most draws: id 4999 is the likeliest.
TEST(ChooseToken, DrawFallsWhereTheSumOfAllProbabilitiesPutsIt) {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i) * 1e-3f;
  double total = 0;
  for (const float x : logits) total += std::exp(x - 4.999);
  for (const SamplingOptions& options :
       {SamplingOptions{.temperature = 1}, SamplingOptions{.temperature = 1, .top_k = 3000},
        SamplingOptions{.temperature = 1, .top_p = 0.9}}) {
    const size_t k = options.top_k > 0 ? 3000 : 5000;
    double held = 0;
    for (size_t i = 0; i < k; ++i) held += std::exp(logits[4999 - i] - 4.999);
    if (options.top_p < 1) {
      held = 0;
      for (size_t i = 4999; held < options.top_p * total; --i) held += std::exp(logits[i] - 4.999);
    }
    for (const double draw : {0.0, 0.01, 0.3, 0.77, 0.999999}) {
      double sum = 0;
      int32_t expected = 5000;
      while (sum <= draw * held) sum += std::exp(logits[static_cast<size_t>(--expected)] - 4.999);
      EXPECT_EQ(choose(logits, options, draw), expected) << draw;
    }
  }
}

TEST(PenalizeRepetition, MakesSeenTokensLessLikely) {
  std::vector<float> logits = {2, -2, 3, 0};
  penalize_repetition(logits, {0, 1, 7}, 2);
  EXPECT_EQ(logits, (std::vector<float>{1, -4, 3, 0}));
}

TEST(ChooseToken, MaskedWordIsNeverChosen) {
  const float masked = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(choices({masked, 1, masked, 1}, {.temperature = 1}), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(choose({masked, 1, masked, 1}, {.temperature = 1}, kLastDraw), 3);
}

}  // namespace
}  // namespace qtune
