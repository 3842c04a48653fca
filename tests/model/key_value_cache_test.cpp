// Generation's forward pass against the logits that the transformers library gives, and against itself: however the
// tokens are fed, alone or beside others, the logits are the same.
#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "qtune/model/model.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

std::vector<int32_t> random_ids(int64_t count, uint64_t seed) {
  CounterRng rng(seed, 0);
  std::vector<int32_t> ids;
  for (int64_t k = 0; k < count; ++k) ids.push_back(static_cast<int32_t>(3 + rng.next_below(320)));
  return ids;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

class KeyValueCacheTest : public testing::TestWithParam<std::string> {
 protected:
  /// Feeds sample `b` in one go up to `prompt` tokens, then token by token; the largest error of any logit.
  double largest_error(int64_t b, int64_t prompt) {
    const at::Tensor ids = fixture_.tensor("input_ids")[b], logits = fixture_.tensor("logits")[b];
    const int64_t length = fixture_.tensor("lengths")[b].item<int64_t>();
    KeyValueCache cache = model_.make_cache();
    double largest = 0;
    for (int64_t done = 0; done < length;) {
      const int64_t next = done == 0 ? prompt : done + 1;
      std::vector<int32_t> part;
      for (int64_t k = done; k < next; ++k) part.push_back(static_cast<int32_t>(ids[k].item<int64_t>()));
      const at::Tensor found = model_.next_token_logits(part, cache);
      largest = std::max(largest, largest_difference(found, logits[next - 1]));
      done = next;
    }
    return largest;
  }

  /// Logits behind the last of `ids`, from the pass that has no cache: their logsumexp less each token's nll.
  at::Tensor logprobs_without_cache(std::vector<int32_t> ids) {
    const int64_t v = model_.config().vocab_size, n = static_cast<int64_t>(ids.size());
    PackedTokens batch{.ids_N = at::tensor(ids, at::kInt),
                       .positions_N = at::arange(n, at::kInt),
                       .cu_seqlens = {0, static_cast<int32_t>(n)},
                       .rows_M = at::full({v}, n - 1, at::kInt),
                       .targets_M = at::arange(v, at::kInt)};
    return -model_.score(batch).nll_N;
  }

  ModelFixture fixture_{GetParam()};
  Model model_ = Model::load(fixture_.folder(), {});
};

TEST_P(KeyValueCacheTest, LogitsEqualTransformersWhereverThePromptEnds) {
  for (int64_t b = 0; b < 3; ++b) {
    // Around the sliding window of 16, and the whole sample at once.
    const int64_t length = fixture_.tensor("lengths")[b].item<int64_t>();
    for (const int64_t prompt : {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{17}, length}) {
      EXPECT_LT(largest_error(b, prompt), 1e-4) << "sample " << b << ", prompt of " << prompt;
    }
  }
}

/// 300 tokens: many times the sliding window, and several times the cache's first capacity.
TEST_P(KeyValueCacheTest, PartsOfAnyLengthGiveTheLogitsOfThePassWithoutACache) {
  const std::vector<int32_t> ids = random_ids(300, 1);
  for (const size_t part : {size_t{1}, size_t{7}, size_t{16}, size_t{70}, size_t{300}}) {
    KeyValueCache cache = model_.make_cache();
    at::Tensor logits;
    for (size_t at = 0; at < ids.size(); at += part) {
      const size_t end = std::min(at + part, ids.size());
      logits = model_.next_token_logits(
          {ids.begin() + static_cast<int64_t>(at), ids.begin() + static_cast<int64_t>(end)}, cache);
    }
    EXPECT_EQ(cache.length, 300);
    EXPECT_LT(largest_difference(logits.log_softmax(0), logprobs_without_cache(ids)), 1e-4) << "parts of " << part;
  }
}

TEST_P(KeyValueCacheTest, SequencesInOnePassHaveTheLogitsTheyHaveAlone) {
  // Prompts of several lengths, one of a single token, and one that goes on behind 40 tokens.
  const std::vector<std::vector<int32_t>> ids = {random_ids(33, 2), random_ids(1, 3), random_ids(100, 4),
                                                 random_ids(60, 5)};
  std::vector<KeyValueCache> together, alone;
  for (size_t i = 0; i < ids.size(); ++i) {
    together.push_back(model_.make_cache());
    alone.push_back(model_.make_cache());
  }
  const std::vector<int32_t> begun(ids[3].begin(), ids[3].begin() + 40), rest(ids[3].begin() + 40, ids[3].end());
  model_.next_token_logits(begun, together[3]);
  model_.next_token_logits(begun, alone[3]);
  std::vector<std::vector<int32_t>> next = {ids[0], ids[1], ids[2], rest};
  for (int step = 0; step < 20; ++step) {
    std::vector<SequenceTokens> sequences;
    for (size_t i = 0; i < ids.size(); ++i) sequences.push_back({.ids = next[i], .cache = &together[i]});
    const at::Tensor found = model_.next_token_logits(sequences).clone();
    for (size_t i = 0; i < ids.size(); ++i) {
      EXPECT_LT(largest_difference(found[static_cast<int64_t>(i)], model_.next_token_logits(next[i], alone[i])), 1e-4)
          << "sequence " << i << ", step " << step;
      next[i] = {found[static_cast<int64_t>(i)].argmax().item<int32_t>()};
    }
  }
}

TEST_P(KeyValueCacheTest, TruncatedCacheGoesOnAsIfTheRestHadNotBeen) {
  const std::vector<int32_t> ids = random_ids(60, 6);
  KeyValueCache cache = model_.make_cache();
  model_.next_token_logits(ids, cache);
  const int64_t left = cache.truncate(50);
  ASSERT_EQ(left, 50) << "nothing has been let go of yet";
  const std::vector<int32_t> other = random_ids(9, 7);
  std::vector<int32_t> all(ids.begin(), ids.begin() + 50);
  all.insert(all.end(), other.begin(), other.end());
  const at::Tensor logits = model_.next_token_logits(other, cache);
  EXPECT_LT(largest_difference(logits.log_softmax(0), logprobs_without_cache(all)), 1e-4);
}

TEST_P(KeyValueCacheTest, CloneGoesItsOwnWay) {
  const std::vector<int32_t> ids = random_ids(40, 8);
  KeyValueCache cache = model_.make_cache();
  model_.next_token_logits(ids, cache);
  KeyValueCache copy = cache.clone();
  const at::Tensor expected = model_.next_token_logits({5, 6, 7}, copy).clone();
  copy = cache.clone();
  model_.next_token_logits({9, 9, 9}, cache);
  EXPECT_TRUE(at::equal(model_.next_token_logits({5, 6, 7}, copy), expected));
}

TEST_P(KeyValueCacheTest, BFloat16StaysNearFloat32) {
  Model rounded = Model::load(fixture_.folder(), {.compute_dtype = at::kBFloat16});
  const std::vector<int32_t> ids = random_ids(80, 9);
  KeyValueCache a = model_.make_cache(), b = rounded.make_cache();
  const at::Tensor exact = model_.next_token_logits(ids, a).clone();
  rounded.next_token_logits({ids.begin(), ids.begin() + 70}, b);
  at::Tensor found;
  for (size_t k = 70; k < 80; ++k) found = rounded.next_token_logits({ids[k]}, b);
  // 8 bits of mantissa through three layers.
  EXPECT_LT(largest_difference(found, exact), 0.05 * exact.abs().max().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Families, KeyValueCacheTest, kFixtureModels, [](const auto& family) { return family.param; });

class SlidingWindowCache : public testing::Test {
 protected:
  Model model_ = Model::load(ModelFixture("mistral_window").folder(), {});  // a window of 16
};

TEST_F(SlidingWindowCache, HoldsNoMoreThanAFewWindows) {
  KeyValueCache cache = model_.make_cache();
  for (int k = 0; k < 400; ++k) model_.next_token_logits({5}, cache);
  EXPECT_EQ(cache.length, 400);
  EXPECT_LE(cache.keys[0].size(0), 64);
}

TEST_F(SlidingWindowCache, TruncatedBeforeWhatItHoldsIsEmpty) {
  KeyValueCache cache = model_.make_cache();
  const std::vector<int32_t> ids = random_ids(400, 1);
  for (const int32_t id : ids) model_.next_token_logits({id}, cache);
  ASSERT_GT(cache.first, 0);
  KeyValueCache copy = cache.clone();
  EXPECT_EQ(copy.truncate(cache.first + 14), 0);
  EXPECT_EQ(copy.length, 0);
  EXPECT_EQ(cache.truncate(cache.first + 15), cache.first + 15) << "the 15 before the next token are there";
  KeyValueCache whole = model_.make_cache();
  const std::vector<int32_t> kept(ids.begin(), ids.begin() + cache.length);
  model_.next_token_logits(kept, whole);
  const at::Tensor expected = model_.next_token_logits({7}, whole).clone();
  EXPECT_LT(largest_difference(model_.next_token_logits({7}, cache), expected), 1e-4);
}

TEST(KeyValueCache, FaultyTokensLeaveItAsItWas) {
  Model model = Model::load(ModelFixture("llama_tied").folder(), {});
  KeyValueCache cache = model.make_cache();
  model.next_token_logits({3, 4, 5}, cache);
  EXPECT_THROW(model.next_token_logits({3, 331}, cache), Error);
  EXPECT_THROW(model.next_token_logits({}, cache), Error);
  EXPECT_EQ(cache.length, 3);
}

}  // namespace
}  // namespace qtune
