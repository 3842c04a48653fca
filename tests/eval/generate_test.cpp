#include "qtune/eval/generate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "qtune/base/error.h"
#include "support/broken_model.h"
#include "support/model_fixture.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

/// The largest value that a draw can take.
constexpr double kLastDraw = 1 - 0x1p-53;

/// Logits of given probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

/// Tokens of increasing draws, each once: what can be chosen, most likely first.
std::vector<int32_t> choices(const std::vector<float>& logits, const GenerateOptions& options) {
  std::vector<int32_t> found;
  for (double draw = 0; draw < 1; draw += 0.005) {
    const int32_t id = choose_token(logits, options, draw);
    if (found.empty() || found.back() != id) found.push_back(id);
  }
  return found;
}

TEST(ChooseToken, GreedyTakesTheMostLikelyWhateverTheDraw) {
  for (const double draw : {0.0, 0.5, kLastDraw}) EXPECT_EQ(choose_token({1, 7, 3}, {}, draw), 1);
}

TEST(ChooseToken, GreedyTieGoesToTheLowestId) { EXPECT_EQ(choose_token({1, 7, 3, 7}, {}, 0.9), 1); }

TEST(ChooseToken, GreedyIgnoresTopKAndTopP) {
  EXPECT_EQ(choose_token({1, 7, 3}, {.temperature = 0, .top_k = 2, .top_p = 0.1}, 0.9), 1);
}

TEST(ChooseToken, DrawWalksThroughTheProbabilitiesFromTheLargest) {
  const std::vector<float> logits = logits_of({0.2, 0.5, 0.3});
  const GenerateOptions options{.temperature = 1};
  EXPECT_EQ(choose_token(logits, options, 0.0), 1);
  EXPECT_EQ(choose_token(logits, options, 0.499), 1);
  EXPECT_EQ(choose_token(logits, options, 0.501), 2);
  EXPECT_EQ(choose_token(logits, options, 0.799), 2);
  EXPECT_EQ(choose_token(logits, options, 0.801), 0);
  EXPECT_EQ(choose_token(logits, options, kLastDraw), 0);
}

TEST(ChooseToken, TemperatureSharpensAndFlattens) {
  // Odds 4 : 1 become 16 : 1 at temperature 1/2 and 2 : 1 at 2.
  const std::vector<float> logits = logits_of({0.8, 0.2});
  EXPECT_EQ(choose_token(logits, {.temperature = 0.5}, 16.0 / 17 - 1e-6), 0);
  EXPECT_EQ(choose_token(logits, {.temperature = 0.5}, 16.0 / 17 + 1e-6), 1);
  EXPECT_EQ(choose_token(logits, {.temperature = 2}, 2.0 / 3 - 1e-6), 0);
  EXPECT_EQ(choose_token(logits, {.temperature = 2}, 2.0 / 3 + 1e-6), 1);
}

TEST(ChooseToken, TinyTemperatureIsGreedyAndDoesNotOverflow) {
  EXPECT_EQ(choose_token({1e4f, -1e4f, 9e3f}, {.temperature = 1e-6}, kLastDraw), 0);
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

TEST(ChooseToken, MaskedWordIsNeverChosen) {
  const float masked = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(choices({masked, 1, masked, 1}, {.temperature = 1}), (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(choose_token({masked, 1, masked, 1}, {.temperature = 1}, kLastDraw), 3);
}

class GenerateTest : public testing::Test {
 protected:
  static std::vector<int32_t> prompt(int64_t length) {
    std::vector<int32_t> ids;
    for (int64_t k = 0; k < length; ++k) ids.push_back(static_cast<int32_t>(3 + 7 * k % 300));
    return ids;
  }

  std::vector<int32_t> run(const std::vector<int32_t>& prompt_ids, const GenerateOptions& options) {
    return generate(model_, prompt_ids, options, [](int32_t) { return true; });
  }

  Model model_ = Model::load(ModelFixture("llama_tied").folder(), {});
};

TEST_F(GenerateTest, GreedyTokensAreTheBestOfTheFullPass) {
  std::vector<int32_t> ids = prompt(9);
  const std::vector<int32_t> found = run(ids, {.max_new_tokens = 12});
  ASSERT_EQ(found.size(), 12u);
  for (const int32_t id : found) {
    // Without what the cache remembers: all tokens again.
    KeyValueCache cache = model_.make_cache(static_cast<int64_t>(ids.size()));
    EXPECT_EQ(model_.next_token_logits(ids, cache).argmax().item<int32_t>(), id);
    ids.push_back(id);
  }
}

TEST_F(GenerateTest, EndsBehindAStopToken) {
  const std::vector<int32_t> whole = run(prompt(9), {.max_new_tokens = 12});
  const auto first = std::find(whole.begin(), whole.end(), whole[4]);
  const std::vector<int32_t> stopped = run(prompt(9), {.max_new_tokens = 12, .stop_ids = {-1, whole[4]}});
  EXPECT_EQ(stopped, std::vector<int32_t>(whole.begin(), first + 1));
}

TEST_F(GenerateTest, EndsAfterMaxNewTokens) {
  EXPECT_EQ(run(prompt(9), {.max_new_tokens = 1}).size(), 1u);
  EXPECT_TRUE(run(prompt(9), {.max_new_tokens = 0}).empty());
}

TEST_F(GenerateTest, EndsWhereThePositionsEnd) {
  EXPECT_EQ(run(prompt(510), {.max_new_tokens = 100}).size(), 2u);
  EXPECT_EQ(run(prompt(511), {.max_new_tokens = 100}).size(), 1u);
}

TEST_F(GenerateTest, EndsWhenTheCallerSaysSo) {
  std::vector<int32_t> shown;
  const std::vector<int32_t> found = generate(model_, prompt(9), {.max_new_tokens = 12}, [&](int32_t id) {
    shown.push_back(id);
    return shown.size() < 3;
  });
  EXPECT_EQ(found.size(), 3u);
  EXPECT_EQ(found, shown);
}

TEST_F(GenerateTest, PromptWithoutRoomThrows) {
  EXPECT_THROW(run({}, {}), Error);
  EXPECT_THROW(run(prompt(512), {}), Error);
  EXPECT_THROW(run(prompt(600), {}), Error);
}

TEST_F(GenerateTest, PromptIdOutsideTheVocabularyThrows) { EXPECT_THROW(run({5, 331}, {}), Error); }

TEST_F(GenerateTest, LogitsThatAreNotFiniteStopIt) {
  const TempDir folder;
  fixture_with_nan_embedding(9, folder.path());
  Model broken = Model::load(folder.path(), {});
  for (const double temperature : {0.0, 1.0}) {
    const GenerateOptions options{.max_new_tokens = 4, .temperature = temperature};
    EXPECT_THROW(generate(broken, {3, 9, 5}, options, [](int32_t) { return true; }), NonFiniteError);
  }
}

TEST_F(GenerateTest, SeedDecidesTheSampledText) {
  const GenerateOptions options{.max_new_tokens = 20, .temperature = 3, .seed = 1};
  EXPECT_EQ(run(prompt(9), options), run(prompt(9), options));
  EXPECT_NE(run(prompt(9), options), run(prompt(9), {.max_new_tokens = 20, .temperature = 3, .seed = 2}));
}

TEST_F(GenerateTest, NegativeMaxNewTokensGenerateNothing) {
  EXPECT_TRUE(run(prompt(9), {.max_new_tokens = -5}).empty());
}

}  // namespace
}  // namespace qtune
