// Attention over caches against the attention of whole samples.
#include "qtune/ops/cached_attention.h"

#include <gtest/gtest.h>

#include "op_inputs.h"
#include "qtune/base/error.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

class CachedAttentionTest : public testing::TestWithParam<at::ScalarType> {
 protected:
  at::ScalarType dtype() const { return GetParam(); }
};

struct Sample {
  int64_t length;
  std::vector<int64_t> cuts;  // where one call ends and the next begins
};

/// Every call takes one part of each sample, packed; samples without a further part take none.
at::Tensor attend_in_parts(const at::Tensor& qkv, const std::vector<Sample>& samples, const AttentionShape& shape) {
  const at::Tensor out = poisoned({qkv.size(0), shape.out_width()}, qkv.scalar_type());
  std::vector<at::Tensor> keys, values;
  for (const Sample& s : samples) {
    for (auto* tensors : {&keys, &values})
      tensors->push_back(poisoned({s.length, shape.num_kv_heads, shape.head_dim}, qkv.scalar_type()));
  }
  for (size_t part = 0;; ++part) {
    std::vector<CachedRows> rows;
    std::vector<at::Tensor> inputs, targets;
    int64_t first_row = 0, start = 0;
    for (size_t b = 0; b < samples.size(); ++b) {
      std::vector<int64_t> ends = samples[b].cuts;
      ends.push_back(samples[b].length);
      if (part < ends.size()) {
        const int64_t begin = part == 0 ? 0 : ends[part - 1], count = ends[part] - begin;
        rows.push_back({first_row, count, begin, keys[b], values[b]});
        inputs.push_back(qkv.narrow(0, start + begin, count));
        targets.push_back(out.narrow(0, start + begin, count));
        first_row += count;
      }
      start += samples[b].length;
    }
    if (rows.empty()) return out;
    const at::Tensor found = poisoned({first_row, shape.out_width()}, qkv.scalar_type());
    cached_attention(at::cat(inputs), rows, shape, found);
    for (size_t i = 0; i < rows.size(); ++i) targets[i].copy_(found.narrow(0, rows[i].first_row, rows[i].num_rows));
  }
}

TEST_P(CachedAttentionTest, EqualsTheAttentionOfWholeSamplesWhereverTheyAreCut) {
  const std::vector<Sample> samples = {{1, {}}, {70, {64}}, {130, {1, 2, 3, 67, 129}}, {66, {65}}, {40, {5, 6}}};
  std::vector<int32_t> cu_seqlens = {0};
  for (const Sample& s : samples) cu_seqlens.push_back(cu_seqlens.back() + static_cast<int32_t>(s.length));
  const int64_t n = cu_seqlens.back();
  AttentionShape shape{.num_heads = 6, .num_kv_heads = 2, .head_dim = 10};
  for (const int64_t window : {0, 1, 5, 64, 70}) {
    shape.window = window;
    const at::Tensor qkv = random_values({n, shape.qkv_width()}, dtype(), 1, 2);
    const at::Tensor expected = poisoned({n, shape.out_width()}, dtype());
    attention(qkv, cu_seqlens, shape, expected, poisoned({shape.num_heads, n}, at::kFloat));
    EXPECT_TRUE(is_close(attend_in_parts(qkv, samples, shape), expected, sums_tolerance(dtype()))) << window;
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, CachedAttentionTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return dtype_test_name(dtype.param); });

TEST(CachedAttention, RowsThatDoNotFitThrow) {
  const AttentionShape shape{.num_heads = 2, .num_kv_heads = 1, .head_dim = 4};
  const at::Tensor qkv = random_values({3, shape.qkv_width()}, at::kFloat, 1), out = at::empty({3, 8});
  const at::Tensor cache = at::empty({5, 1, 4});
  const auto run = [&](const std::vector<CachedRows>& rows) { cached_attention(qkv, rows, shape, out); };
  EXPECT_NO_THROW(run({{0, 3, 2, cache, cache.clone()}}));
  EXPECT_THROW(run({{0, 3, 3, cache, cache}}), Error) << "a row beyond the capacity";
  EXPECT_THROW(run({{0, 2, 0, cache, cache}}), Error) << "a row of nobody";
  EXPECT_THROW(run({{1, 2, 0, cache, cache}}), Error) << "the first row of nobody";
  EXPECT_THROW(run({{0, 3, 0, cache, at::empty({5, 2, 4})}}), Error);
  EXPECT_THROW(run({{0, 3, 0, cache.to(at::kBFloat16), cache}}), Error);
}

}  // namespace
}  // namespace qtune
