// Attention received: hand-worked on a sample of uniform attention, and against the definition, token by token.
#include "qtune/model/attention_received.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "qtune/base/error.h"
#include "qtune/model/model.h"
#include "support/model_fixture.h"

namespace qtune {
namespace {

/// Samples of these lengths; the targets of each are its tokens from `prompt` on, and the one behind its last input.
PackedTokens packed(const std::vector<int32_t>& lengths, int32_t prompt) {
  PackedTokens batch{.cu_seqlens = {0}};
  std::vector<int32_t> rows;
  for (const int32_t length : lengths) {
    for (int32_t row = prompt - 1; row < length; ++row) rows.push_back(batch.cu_seqlens.back() + row);
    batch.cu_seqlens.push_back(batch.cu_seqlens.back() + length);
  }
  batch.ids_N = batch.positions_N = at::zeros({batch.cu_seqlens.back()}, at::kInt);
  batch.rows_M = at::tensor(rows, at::kInt);
  batch.targets_M = at::zeros_like(batch.rows_M);
  return batch;
}

/// A(q, k), mean over the heads, in double.
std::vector<std::vector<double>> attention_of(const at::Tensor& qkv, const AttentionShape& s, int64_t start,
                                              int64_t n) {
  const at::Tensor rows = qkv.narrow(0, start, n).to(at::kDouble).view({n, s.num_heads + 2 * s.num_kv_heads, -1});
  std::vector<std::vector<double>> a(static_cast<size_t>(n), std::vector<double>(static_cast<size_t>(n), 0));
  for (int64_t h = 0; h < s.num_heads; ++h) {
    const int64_t kv = s.num_heads + h / (s.num_heads / s.num_kv_heads);
    for (int64_t q = 0; q < n; ++q) {
      const int64_t first = s.window > 0 ? std::max<int64_t>(0, q - s.window + 1) : 0;
      std::vector<double> shares;
      double sum = 0;
      for (int64_t k = first; k <= q; ++k) {
        shares.push_back(std::exp((rows[q][h] * rows[k][kv]).sum().item<double>() / std::sqrt(s.head_dim)));
        sum += shares.back();
      }
      for (int64_t k = first; k <= q; ++k) {
        a[static_cast<size_t>(q)][static_cast<size_t>(k)] +=
            shares[static_cast<size_t>(k - first)] / sum / static_cast<double>(s.num_heads);
      }
    }
  }
  return a;
}

/// The definition of attention_received.h, for one sample whose T(x) starts at `prompt`.
std::vector<double> by_definition(const std::vector<std::vector<double>>& a, size_t prompt, int64_t window,
                                  AttentionRule rule) {
  const size_t n = a.size();
  std::vector<double> relevance(n, 0);
  double mean = 0;
  for (size_t q = prompt + 1; q < n; ++q) {
    for (size_t k = prompt; k < q; ++k) relevance[q] += a[q][k];
    mean += relevance[q] / static_cast<double>(n - prompt - 1);
  }
  std::vector<double> received;
  for (size_t k = prompt; k <= n; ++k) {
    double sum = 0, count = 0;
    for (size_t q = k + 1; q < n; ++q) {
      const bool sees = window == 0 || q - k < static_cast<size_t>(window);
      const bool asked = rule == AttentionRule::kFastV || relevance[q] >= mean;
      if (!sees || !asked) continue;
      sum += a[q][k];
      ++count;
    }
    received.push_back(count > 0 ? sum / count : 0);
  }
  return received;
}

std::vector<float> received(const at::Tensor& qkv, const PackedTokens& batch, const AttentionShape& shape,
                            AttentionRule rule) {
  const at::Tensor t = attention_received(qkv, batch, shape, rule);
  return {t.data_ptr<float>(), t.data_ptr<float>() + t.numel()};
}

TEST(AttentionReceived, UniformAttentionByHand) {
  // Four inputs, the first one prompt: T(x) is 1, 2, 3, 4, and token 4 is no input. A(q, k) = 1 / (q + 1).
  const AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 2};
  const at::Tensor qkv = at::zeros({4, 6});
  const std::vector<float> fastv = received(qkv, packed({4}, 1), shape, AttentionRule::kFastV);
  ASSERT_EQ(fastv.size(), 4U);
  EXPECT_NEAR(fastv[0], (1.0 / 3 + 1.0 / 4) / 2, 1e-6) << "token 1, from 2 and 3";
  EXPECT_NEAR(fastv[1], 1.0 / 4, 1e-6) << "token 2, from 3";
  EXPECT_EQ(fastv[2], 0) << "token 3 has nobody behind it";
  EXPECT_EQ(fastv[3], 0) << "token 4 is no input";
  // Relevance: token 2 looks at token 1 with 1/3, token 3 at tokens 1 and 2 with 2/4. Mean 5/12: token 3 rates alone.
  const std::vector<float> rated = received(qkv, packed({4}, 1), shape, AttentionRule::kSparseVlm);
  EXPECT_NEAR(rated[0], 1.0 / 4, 1e-6);
  EXPECT_NEAR(rated[1], 1.0 / 4, 1e-6);
  EXPECT_EQ(rated[2], 0);
}

TEST(AttentionReceived, EqualsTheDefinitionInPackedSamplesOfMoreThanABlock) {
  at::Generator generator = at::detail::createCPUGenerator(3);
  for (const int64_t window : {0, 5}) {
    const AttentionShape shape{.num_heads = 4, .num_kv_heads = 2, .head_dim = 8, .window = window};
    const PackedTokens batch = packed({3, 70, 1, 17}, 1);
    const at::Tensor qkv = at::randn({91, shape.qkv_width()}, generator);
    for (const AttentionRule rule : {AttentionRule::kFastV, AttentionRule::kSparseVlm}) {
      const std::vector<float> found = received(qkv, batch, shape, rule);
      size_t next = 0;
      for (size_t b = 0; b < 4; ++b) {
        const int32_t start = batch.cu_seqlens[b], n = batch.cu_seqlens[b + 1] - start;
        for (const double expected : by_definition(attention_of(qkv, shape, start, n), 1, window, rule)) {
          ASSERT_LT(next, found.size());
          EXPECT_NEAR(found[next++], expected, 1e-5) << "sample " << b << ", window " << window;
        }
      }
      EXPECT_EQ(next, found.size());
    }
  }
}

TEST(AttentionReceived, NoSamplesAndEmptyOnesGiveNothing) {
  const AttentionShape shape{.num_heads = 1, .num_kv_heads = 1, .head_dim = 2};
  EXPECT_EQ(received(at::zeros({0, 6}), packed({}, 1), shape, AttentionRule::kFastV).size(), 0U);
  PackedTokens batch = packed({4}, 1);
  batch.cu_seqlens = {0, 0, 4, 4};
  EXPECT_EQ(received(at::zeros({4, 6}), batch, shape, AttentionRule::kSparseVlm),
            received(at::zeros({4, 6}), packed({4}, 1), shape, AttentionRule::kSparseVlm));
}

class AttentionToTargets : public testing::TestWithParam<std::string> {};

TEST_P(AttentionToTargets, LooksAtTheLayerThatIsAskedFor) {
  const ModelFixture fixture(GetParam());
  Model model = Model::load(fixture.folder(), {});
  const PackedTokens batch = fixture.batch();
  const at::Tensor scores = model.score(batch).nll_N.clone();
  std::vector<at::Tensor> layers;
  for (int64_t layer = 1; layer <= 3; ++layer) {
    layers.push_back(model.attention_to_targets(batch, layer, AttentionRule::kFastV).clone());
    EXPECT_EQ(layers.back().sizes(), at::IntArrayRef({batch.num_targets()}));
    EXPECT_TRUE(((layers.back() >= 0) & (layers.back() <= 1)).all().item<bool>());
  }
  EXPECT_FALSE(at::allclose(layers[0], layers[1]));
  EXPECT_FALSE(at::allclose(layers[1], layers[2]));
  EXPECT_TRUE(at::equal(model.score(batch).nll_N, scores)) << "buffers are shared with the score pass";
  EXPECT_THROW(model.attention_to_targets(batch, 0, AttentionRule::kFastV), Error);
  EXPECT_THROW(model.attention_to_targets(batch, 4, AttentionRule::kFastV), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, AttentionToTargets, kFixtureModels);

/// The same value of the last layer by attention() itself: the share of a key is what a value of ones there adds up to.
TEST(AttentionReceived, SharesAreThoseOfTheAttentionOp) {
  const AttentionShape shape{.num_heads = 2, .num_kv_heads = 1, .head_dim = 4};
  const int64_t n = 6;
  at::Generator generator = at::detail::createCPUGenerator(5);
  const at::Tensor qkv = at::randn({n, shape.qkv_width()}, generator);
  const PackedTokens batch = packed({6}, 1);
  const std::vector<float> found = received(qkv, batch, shape, AttentionRule::kFastV);
  for (int64_t k = 1; k + 1 < n; ++k) {
    const at::Tensor marked = qkv.clone(), out = at::empty({n, shape.out_width()}), lse = at::empty({2, n});
    marked.narrow(1, 12, 4).zero_();
    marked[k].narrow(0, 12, 4).fill_(1);
    attention(marked, batch.cu_seqlens, shape, out, lse);
    const double mean = out.narrow(0, k + 1, n - k - 1).mean().item<double>();
    EXPECT_NEAR(found[static_cast<size_t>(k - 1)], mean, 1e-5) << k;
  }
}

}  // namespace
}  // namespace qtune
