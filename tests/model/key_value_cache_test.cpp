// Generation's forward pass against the logits that the transformers library gives.
#include <gtest/gtest.h>

#include "qtune/model/model.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

class KeyValueCacheTest : public testing::TestWithParam<std::string> {
 protected:
  /// Feeds sample `b` in one go up to `prompt` tokens, then token by token; the largest error of any logit.
  double largest_error(int64_t b, int64_t prompt) {
    const at::Tensor ids = fixture_.tensor("input_ids")[b], logits = fixture_.tensor("logits")[b];
    const int64_t length = fixture_.tensor("lengths")[b].item<int64_t>();
    KeyValueCache cache = model_.make_cache(length);
    double largest = 0;
    for (int64_t done = 0; done < length;) {
      const int64_t next = done == 0 ? prompt : done + 1;
      std::vector<int32_t> part;
      for (int64_t k = done; k < next; ++k) part.push_back(static_cast<int32_t>(ids[k].item<int64_t>()));
      const at::Tensor found = model_.next_token_logits(part, cache);
      largest = std::max(largest, (found - logits[next - 1]).abs().max().item<double>());
      done = next;
    }
    return largest;
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

INSTANTIATE_TEST_SUITE_P(Families, KeyValueCacheTest, kFixtureModels, [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
