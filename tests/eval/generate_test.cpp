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

class GenerateTest : public testing::Test {
 protected:
  static std::vector<int32_t> prompt(int64_t length) {
    std::vector<int32_t> ids;
    for (int64_t k = 0; k < length; ++k) ids.push_back(static_cast<int32_t>(3 + 7 * k % 300));
    return ids;
  }

  std::vector<int32_t> run(const std::vector<int32_t>& prompt_ids, const GenerateOptions& options) {
    return generate(model_, prompt_ids, options, [](int32_t) { return true; }).ids;
  }

  Model model_ = Model::load(ModelFixture("llama_tied").folder(), {});
};

TEST_F(GenerateTest, GreedyTokensAreTheBestOfTheFullPass) {
  std::vector<int32_t> ids = prompt(9);
  const std::vector<int32_t> found = run(ids, {.max_new_tokens = 12});
  ASSERT_EQ(found.size(), 12u);
  for (const int32_t id : found) {
    // Without what the cache remembers: all tokens again.
    KeyValueCache cache = model_.make_cache();
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
  const Generation found = generate(model_, prompt(9), {.max_new_tokens = 12}, [&](int32_t id) {
    shown.push_back(id);
    return shown.size() < 3;
  });
  EXPECT_EQ(found.ids.size(), 3u);
  EXPECT_EQ(found.ids, shown);
  EXPECT_EQ(found.reason, FinishReason::kCancelled);
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
    const GenerateOptions options{.max_new_tokens = 4, .sampling = {.temperature = temperature}};
    EXPECT_THROW(generate(broken, {3, 9, 5}, options, [](int32_t) { return true; }), NonFiniteError);
  }
}

TEST_F(GenerateTest, SeedDecidesTheSampledText) {
  const GenerateOptions options{.max_new_tokens = 20, .sampling = {.temperature = 3, .seed = 1}};
  EXPECT_EQ(run(prompt(9), options), run(prompt(9), options));
  EXPECT_NE(run(prompt(9), options), run(prompt(9), {.max_new_tokens = 20, .sampling = {.temperature = 3, .seed = 2}}));
}

TEST_F(GenerateTest, NegativeMaxNewTokensGenerateNothing) {
  EXPECT_TRUE(run(prompt(9), {.max_new_tokens = -5}).empty());
}

}  // namespace
}  // namespace qtune
