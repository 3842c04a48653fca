// Many prompts at once: each sequence as it would be alone.
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "qtune/eval/generate.h"
#include "support/broken_model.h"
#include "support/model_fixture.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using Ids = std::vector<int32_t>;

Ids random_prompt(size_t length, uint64_t seed) {
  CounterRng rng(seed, 0);
  Ids ids;
  while (ids.size() < length) ids.push_back(static_cast<int32_t>(3 + rng.next_below(320)));
  return ids;
}

/// Of many lengths: one token, longer than the sliding window, longer than one pass takes of prompts.
std::vector<Ids> prompts() {
  std::vector<Ids> prompts;
  for (const size_t length : {5, 1, 40, 17, 300, 16, 15, 250, 2, 90, 33}) {
    prompts.push_back(random_prompt(length, prompts.size()));
  }
  return prompts;
}

std::vector<Ids> ids_of(const std::vector<Generation>& generations) {
  std::vector<Ids> ids;
  for (const Generation& g : generations) ids.push_back(g.ids);
  return ids;
}

/// Greedy tokens of a model without any cache; stops where the best two logits are too near to tell apart.
Ids greedy_without_cache(Model& model, Ids ids, size_t count) {
  const int64_t v = model.config().vocab_size;
  Ids found;
  while (found.size() < count) {
    const int64_t n = static_cast<int64_t>(ids.size());
    const at::Tensor nll = model
                               .score({.ids_N = at::tensor(ids, at::kInt),
                                       .positions_N = at::arange(n, at::kInt),
                                       .cu_seqlens = {0, static_cast<int32_t>(n)},
                                       .rows_M = at::full({v}, n - 1, at::kInt),
                                       .targets_M = at::arange(v, at::kInt)})
                               .nll_N;
    const auto best = nll.topk(2, -1, /*largest=*/false);
    if ((std::get<0>(best)[1] - std::get<0>(best)[0]).item<double>() < 1e-4) break;
    found.push_back(std::get<1>(best)[0].item<int32_t>());
    ids.push_back(found.back());
  }
  return found;
}

class GenerateBatchTest : public testing::TestWithParam<std::string> {
 protected:
  Model model_ = Model::load(ModelFixture(GetParam()).folder(), {});
};

TEST_P(GenerateBatchTest, GreedyTokensAreThoseOfThePassWithoutACache) {
  const std::vector<Ids> all = prompts();
  for (const int64_t batch_size : {1, 4, 16}) {
    const auto found = generate_batch(model_, all, {.max_new_tokens = 30}, {.batch_size = batch_size});
    ASSERT_EQ(found.size(), all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      const Ids expected = greedy_without_cache(model_, all[i], 30);
      ASSERT_GE(expected.size(), 10U);
      EXPECT_EQ(Ids(found[i].ids.begin(), found[i].ids.begin() + static_cast<int64_t>(expected.size())), expected)
          << "prompt " << i << ", batches of " << batch_size;
      EXPECT_EQ(found[i].ids.size(), 30U);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GenerateBatchTest, kFixtureModels, [](const auto& family) { return family.param; });

class LlamaBatch : public testing::Test {
 protected:
  std::vector<Ids> run(const std::vector<Ids>& prompt_ids, const GenerateOptions& options, int64_t batch_size = 4) {
    return ids_of(generate_batch(model_, prompt_ids, options, {.batch_size = batch_size}));
  }

  Model model_ = Model::load(ModelFixture("llama_tied").folder(), {});
  const GenerateOptions sampled_{.max_new_tokens = 20, .sampling = {.temperature = 1.5, .top_k = 50, .seed = 3}};
};

TEST_F(LlamaBatch, SampledTextDoesNotDependOnTheNeighbours) {
  const std::vector<Ids> all = prompts();
  const std::vector<Ids> expected = run(all, sampled_, 1);
  EXPECT_EQ(run(all, sampled_, 3), expected);
  EXPECT_EQ(run(all, sampled_, 100), expected);
  std::vector<Ids> fewer(all.begin(), all.begin() + 4);
  EXPECT_EQ(run(fewer, sampled_), std::vector<Ids>(expected.begin(), expected.begin() + 4));
  EXPECT_EQ(generate(model_, all[0], sampled_, [](int32_t) { return true; }).ids, expected[0]) << "alone";
}

TEST_F(LlamaBatch, EqualPromptsDrawDifferently) {
  const std::vector<Ids> found = run({{5, 6, 7}, {5, 6, 7}}, sampled_);
  EXPECT_NE(found[0], found[1]);
}

TEST_F(LlamaBatch, CommonBeginningChangesNothing) {
  const Ids beginning = random_prompt(60, 1);
  std::vector<Ids> all;
  for (uint64_t i = 0; i < 5; ++i) {
    all.push_back(beginning);
    const Ids rest = random_prompt(i, i + 2);  // the first is the beginning itself
    all.back().insert(all.back().end(), rest.begin(), rest.end());
  }
  const std::vector<Ids> together = run(all, {.max_new_tokens = 20});
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(run({all[i]}, {.max_new_tokens = 20})[0], together[i]) << i;
}

TEST_F(LlamaBatch, EachEndsByItself) {
  const std::vector<Ids> all = prompts();
  const std::vector<Ids> whole = run(all, {.max_new_tokens = 20});
  const GenerateOptions options{.max_new_tokens = 20, .stop_ids = {whole[2][3], whole[0][7], whole[4][11]}};
  const auto found = generate_batch(model_, all, options, {.batch_size = 4});
  size_t stopped = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    const auto end =
        std::find_first_of(whole[i].begin(), whole[i].end(), options.stop_ids.begin(), options.stop_ids.end());
    const bool stops = end != whole[i].end();
    EXPECT_EQ(found[i].ids, Ids(whole[i].begin(), stops ? end + 1 : end)) << i;
    EXPECT_EQ(found[i].reason, stops ? FinishReason::kStop : FinishReason::kLength) << i;
    stopped += stops;
  }
  EXPECT_GE(stopped, 3U);
}

TEST_F(LlamaBatch, EndsWhereThePositionsEnd) {
  const auto found = generate_batch(model_, {random_prompt(505, 1), random_prompt(500, 2), random_prompt(9, 3)},
                                    {.max_new_tokens = 12}, {});
  EXPECT_EQ(found[0].ids.size(), 7U);
  EXPECT_EQ(found[0].reason, FinishReason::kPositions);
  EXPECT_EQ(found[1].ids.size(), 12U);
  EXPECT_EQ(found[1].reason, FinishReason::kLength) << "the last position was for the last token asked for";
  EXPECT_EQ(found[2].ids.size(), 12U);
}

TEST_F(LlamaBatch, EveryTokenAndEveryEndIsTold) {
  const std::vector<Ids> all = prompts();
  std::vector<Ids> told(all.size()), ended(all.size());
  const auto found = generate_batch(model_, all, {.max_new_tokens = 9},
                                    {.batch_size = 3,
                                     .on_token =
                                         [&](size_t i, int32_t id) {
                                           told[i].push_back(id);
                                           return i != 2 || told[i].size() < 4;
                                         },
                                     .on_finished = [&](size_t i, const Generation& g) { ended[i] = g.ids; }});
  EXPECT_EQ(told, ids_of(found));
  EXPECT_EQ(ended, ids_of(found));
  EXPECT_EQ(found[2].ids.size(), 4U);
  EXPECT_EQ(found[2].reason, FinishReason::kCancelled);
}

TEST_F(LlamaBatch, NothingToDoIsDone) {
  EXPECT_TRUE(run({}, {}).empty());
  EXPECT_EQ(run({{5, 6}, {7}}, {.max_new_tokens = 0}), (std::vector<Ids>{{}, {}}));
}

TEST_F(LlamaBatch, FaultyPromptIsNamedBeforeAnythingIsComputed) {
  const auto message = [&](const std::vector<Ids>& all) -> std::string {
    try {
      generate_batch(model_, all, {}, {.on_token = [](size_t, int32_t) { return ADD_FAILURE(), true; }});
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message({{5}, {}}), "generate: prompt 2: the prompt has no token");
  EXPECT_EQ(message({{5}, {6}, random_prompt(512, 1)}),
            "generate: prompt 3: the prompt has 512 tokens, the model 512 positions");
}

TEST_F(LlamaBatch, LogitsThatAreNotFiniteNameTheirPrompt) {
  const TempDir folder;
  fixture_with_nan_embedding(9, folder.path());
  Model broken = Model::load(folder.path(), {});
  try {
    generate_batch(broken, {{3, 4}, {3, 9, 5}}, {.max_new_tokens = 1}, {});
    ADD_FAILURE();
  } catch (const NonFiniteError& e) {
    EXPECT_TRUE(std::string(e.what()).starts_with("generate: prompt 2: expected finite logits")) << e.what();
  }
}

TEST_F(LlamaBatch, RepetitionPenaltyKeepsTokensFromComingAgain) {
  GenerateOptions options{.max_new_tokens = 60, .sampling = {.repetition_penalty = 1000}};
  const Ids prompt = random_prompt(20, 1);
  Ids found = run({prompt}, options)[0];
  found.insert(found.end(), prompt.begin(), prompt.end());
  std::sort(found.begin(), found.end());
  const auto repeated = std::adjacent_find(found.begin(), found.end());
  EXPECT_TRUE(repeated == found.end() || std::find(prompt.begin(), prompt.end(), *repeated) != prompt.end());
}

/// A conversation's turns: each generation goes on from what the last one left.
TEST_F(LlamaBatch, KeptPrefixGivesTheTokensOfAFreshStart) {
  PrefixCache prefix = make_prefix_cache(model_);
  const GenerateOptions options{.max_new_tokens = 10};
  Ids ids = random_prompt(30, 1);
  for (int turn = 0; turn < 4; ++turn) {
    const auto go_on = [](int32_t) { return true; };
    const Generation expected = generate(model_, ids, options, go_on);
    EXPECT_EQ(generate(model_, ids, options, go_on, prefix, {}).ids, expected.ids) << turn;
    EXPECT_EQ(prefix.cache.length, static_cast<int64_t>(ids.size()) + 9) << "the last token has not been run";
    // The answer is kept up to a token that differs, as when its end is written in another way.
    ids.insert(ids.end(), expected.ids.begin(), expected.ids.begin() + 7);
    const Ids more = random_prompt(5, static_cast<uint64_t>(turn) + 2);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  EXPECT_EQ(generate(model_, ids, options, [](int32_t) { return true; }, prefix, {}).ids,
            generate(model_, ids, options, [](int32_t) { return true; }, prefix, {}).ids)
      << "the same prompt again";
}

TEST_F(LlamaBatch, CancelledBeforeTheFirstTokenHasNone) {
  PrefixCache prefix = make_prefix_cache(model_);
  const Generation found = generate(
      model_, {5, 6, 7}, {}, [](int32_t) { return true; }, prefix, [] { return true; });
  EXPECT_TRUE(found.ids.empty());
  EXPECT_EQ(found.reason, FinishReason::kCancelled);
}

TEST(GenerateWithAdapter, BatchEqualsSingleAndIsNotTheBaseModel) {
  const ModelFixture fixture("qwen2_bias");
  Model base = Model::load(fixture.folder(), {});
  Model adapted =
      Model::load(fixture.folder(), {.adapter = AdapterOptions{.folder = fixture.folder() / "adapter_trained"}});
  const std::vector<Ids> all = prompts();
  const GenerateOptions options{.max_new_tokens = 16};
  const auto found = ids_of(generate_batch(adapted, all, options, {}));
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(generate(adapted, all[i], options, [](int32_t) { return true; }).ids, found[i]);
  EXPECT_NE(found, ids_of(generate_batch(base, all, options, {})));
}

TEST(GenerateInBFloat16, TokensAreThoseOfTheModelsOwnPass) {
  Model model = Model::load(ModelFixture("llama_untied").folder(), {.compute_dtype = at::kBFloat16});
  const auto found = generate_batch(model, prompts(), {.max_new_tokens = 8}, {});
  for (const Generation& g : found) EXPECT_EQ(g.ids.size(), 8U);
}

}  // namespace
}  // namespace qtune
