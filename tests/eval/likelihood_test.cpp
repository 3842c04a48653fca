// Likelihoods through the key/value cache against those of the pass without it.
#include "qtune/eval/likelihood.h"

#include <gtest/gtest.h>

#include <numeric>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "qtune/batch/pack.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

using Ids = std::vector<int32_t>;

Ids random_ids(size_t length, uint64_t seed) {
  CounterRng rng(seed, 7);
  Ids ids;
  while (ids.size() < length) ids.push_back(static_cast<int32_t>(3 + rng.next_below(320)));
  return ids;
}

/// Sum of nll of all tokens behind the first `num_context`, without a cache.
double nll_without_cache(Model& model, const Ids& ids, size_t num_context) {
  const size_t first = num_context - 1;
  PackedSample sample{.input_ids = {ids.begin(), ids.end() - 1}, .rows = {}, .targets = {}};
  for (size_t row = first; row + 1 < ids.size(); ++row) {
    sample.rows.push_back(static_cast<int32_t>(row));
    sample.targets.push_back(ids[row + 1]);
  }
  return model.score(pack({&sample, 1})).nll_N.sum().item<double>();
}

Ids operator+(Ids a, const Ids& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class LikelihoodTest : public testing::TestWithParam<std::string> {
 protected:
  Model model_ = Model::load(ModelFixture(GetParam()).folder(), {});
};

/// Contexts of one token, longer than the sliding window, longer than one pass takes; continuations of unequal length.
TEST_P(LikelihoodTest, ContinuationsHaveTheLikelihoodOfThePassWithoutACache) {
  std::vector<ContinuationRequest> requests;
  for (const size_t length : {5, 1, 40, 300}) {
    requests.push_back({.context = random_ids(length, length),
                        .continuations = {random_ids(1, 1), random_ids(9, 2), random_ids(4, 3)}});
  }
  for (const int64_t batch_size : {1, 7, 100}) {
    size_t num_done = 0;
    continuation_logprobs(model_, requests, batch_size, [&](size_t i, const std::vector<double>& logprobs) {
      ++num_done;
      ASSERT_EQ(logprobs.size(), 3U);
      for (size_t k = 0; k < 3; ++k) {
        const ContinuationRequest& r = requests[i];
        // Float32 sums of up to 9 nlls of about 6 nats: 1e-4 is 16 of its last places.
        EXPECT_NEAR(logprobs[k], -nll_without_cache(model_, r.context + r.continuations[k], r.context.size()), 1e-4);
      }
    });
    EXPECT_EQ(num_done, requests.size());
  }
}

TEST_P(LikelihoodTest, WholeTextsLossIsDividedByAllTheirTokens) {
  const std::vector<Ids> texts = {random_ids(2, 1), random_ids(50, 2), random_ids(7, 3)};
  const std::vector<double> means = whole_text_nll(model_, texts);
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_NEAR(means[i] * static_cast<double>(texts[i].size()), nll_without_cache(model_, texts[i], 1), 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, LikelihoodTest, kFixtureModels, [](const auto& family) { return family.param; });

class LlamaLikelihood : public testing::Test {
 protected:
  double logprob(const Ids& context, const Ids& continuation) {
    double found = 0;
    const ContinuationRequest request{.context = context, .continuations = {continuation}};
    continuation_logprobs(model_, {&request, 1}, 1, [&](size_t, const std::vector<double>& sums) { found = sums[0]; });
    return found;
  }

  Model model_ = Model::load(ModelFixture("llama_tied").folder(), {});
};

TEST_F(LlamaLikelihood, TooLongAContextLosesItsStart) {
  const auto positions = static_cast<size_t>(model_.config().max_positions);
  const Ids continuation = random_ids(3, 1), context = random_ids(positions + 40, 2);
  const Ids kept(context.end() - static_cast<int64_t>(positions + 1 - 3), context.end());
  EXPECT_NEAR(logprob(context, continuation), -nll_without_cache(model_, kept + continuation, kept.size()), 1e-4);
}

TEST_F(LlamaLikelihood, RefusesWhatHasNoTokens) {
  EXPECT_THROW(logprob({}, {5}), Error);
  EXPECT_THROW(logprob({5}, {}), Error);
  EXPECT_THROW(whole_text_nll(model_, {{5}}), Error);
}

TEST_F(LlamaLikelihood, NothingAskedIsNothingDone) { EXPECT_TRUE(whole_text_nll(model_, {}).empty()); }

}  // namespace
}  // namespace qtune
