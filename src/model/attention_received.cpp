#include "qtune/model/attention_received.h"

#include <ATen/ATen.h>

#include <cmath>

namespace qtune {
namespace {

/// Query rows of a block.
constexpr int64_t kRows = 64;

/// One sample's attention at the layer, block by block of its queries.
class SampleAttention {
 public:
  /// qkv_TX: the sample's rows.
  SampleAttention(const at::Tensor& qkv_TX, const AttentionShape& shape) : shape_(shape), length_(qkv_TX.size(0)) {
    const int64_t e = shape.head_dim, h = shape.num_heads, k = shape.num_kv_heads;
    const at::Tensor heads = qkv_TX.to(at::kFloat).view({length_, h + 2 * k, e}).transpose(0, 1);
    query_HTE_ = heads.narrow(0, 0, h) / std::sqrt(static_cast<double>(e));
    key_HTE_ = heads.narrow(0, h, k).repeat_interleave(h / k, 0);
    positions_T_ = at::arange(length_, qkv_TX.options().dtype(at::kLong));
  }

  int64_t length() const { return length_; }

  /// body(first query, A, sees): A(q, k) of the block's queries and the keys up to its last one, and whether q is
  /// behind k and sees it; both (rows, keys) float32, A without a token's attention to itself.
  template <class Body>
  void for_each_block(const Body& body) const {
    for (int64_t first = 0; first < length_; first += kRows) {
      const int64_t rows = std::min(kRows, length_ - first), keys = first + rows;
      const at::Tensor behind =
          positions_T_.narrow(0, first, rows).unsqueeze(1) - positions_T_.narrow(0, 0, keys).unsqueeze(0);
      at::Tensor visible = behind >= 0;
      if (shape_.window > 0) visible = visible & (behind < shape_.window);
      const at::Tensor scores = at::bmm(query_HTE_.narrow(1, first, rows), key_HTE_.narrow(1, 0, keys).transpose(1, 2));
      const at::Tensor sees = (visible & (behind > 0)).to(at::kFloat);
      const at::Tensor shares = scores.masked_fill(~visible, -INFINITY).softmax(-1).mean(0);
      body(first, shares * sees, sees);
    }
  }

 private:
  const AttentionShape& shape_;
  int64_t length_;
  at::Tensor query_HTE_, key_HTE_, positions_T_;
};

/// Mean attention of the observers to each key, (T). observers_T: 1 or 0.
at::Tensor mean_received(const SampleAttention& attention, const at::Tensor& observers_T) {
  const at::Tensor sum_T = at::zeros_like(observers_T), count_T = at::zeros_like(observers_T);
  attention.for_each_block([&](int64_t first, const at::Tensor& shares, const at::Tensor& sees) {
    const at::Tensor observers = observers_T.narrow(0, first, shares.size(0)).unsqueeze(0);
    sum_T.narrow(0, 0, shares.size(1)).add_(at::mm(observers, shares).squeeze(0));
    count_T.narrow(0, 0, shares.size(1)).add_(at::mm(observers, sees).squeeze(0));
  });
  return sum_T / count_T.clamp_min(1);
}

/// The tokens that look at trainable ones at least as much as the mean of those that can, (T) 1 or 0.
at::Tensor raters_of(const SampleAttention& attention, const at::Tensor& trainable_T, int64_t first_trainable) {
  const at::Tensor raters_T = at::zeros_like(trainable_T);
  const int64_t behind = first_trainable + 1, count = attention.length() - behind;
  if (count <= 0) return raters_T;
  const at::Tensor relevance_T = at::zeros_like(trainable_T);
  attention.for_each_block([&](int64_t first, const at::Tensor& shares, const at::Tensor&) {
    const at::Tensor looked_at = trainable_T.narrow(0, 0, shares.size(1));
    relevance_T.narrow(0, first, shares.size(0)).copy_(at::mv(shares, looked_at));
  });
  const at::Tensor relevance = relevance_T.narrow(0, behind, count);
  // A mean rounded up must not lie above all of them.
  const at::Tensor threshold = at::minimum(relevance.mean(), relevance.max());
  raters_T.narrow(0, behind, count).copy_(relevance >= threshold);
  return raters_T;
}

/// For each target the packed row where it is itself an input, or N where it is none: the row behind the one that
/// predicts it, unless the sample ends there.
std::vector<int64_t> rows_of_targets(const PackedTokens& batch) {
  std::vector<int64_t> own_rows;
  const int32_t* rows = batch.rows_M.data_ptr<int32_t>();
  size_t sample = 0;
  for (int64_t i = 0; i < batch.num_targets(); ++i) {
    while (rows[i] >= batch.cu_seqlens[sample + 1]) ++sample;
    const int64_t own = rows[i] + 1;
    own_rows.push_back(own < batch.cu_seqlens[sample + 1] ? own : batch.num_tokens());
  }
  return own_rows;
}

}  // namespace

at::Tensor attention_received(const at::Tensor& qkv_NX, const PackedTokens& batch, const AttentionShape& shape,
                              AttentionRule rule) {
  const int64_t n = batch.num_tokens();
  const std::vector<int64_t> own_rows = rows_of_targets(batch);
  const auto floats = qkv_NX.options().dtype(at::kFloat);
  const at::Tensor received_N = at::zeros({n + 1}, floats);  // and a place for targets that are no input
  size_t next = 0;
  for (int64_t b = 0; b < batch.num_samples(); ++b) {
    const int64_t start = batch.cu_seqlens[static_cast<size_t>(b)], end = batch.cu_seqlens[static_cast<size_t>(b) + 1];
    if (start == end) continue;
    const at::Tensor trainable_T = at::zeros({end - start}, at::kFloat);
    float* const trainable = trainable_T.data_ptr<float>();
    int64_t first_trainable = end - start;
    for (; next < own_rows.size() && batch.rows_M.data_ptr<int32_t>()[next] < end; ++next) {
      if (own_rows[next] == n) continue;
      trainable[own_rows[next] - start] = 1;
      first_trainable = std::min(first_trainable, own_rows[next] - start);
    }
    const SampleAttention attention(qkv_NX.narrow(0, start, end - start), shape);
    const at::Tensor observers_T = rule == AttentionRule::kFastV
                                       ? at::ones({end - start}, floats)
                                       : raters_of(attention, trainable_T.to(floats.device()), first_trainable);
    received_N.narrow(0, start, end - start).copy_(mean_received(attention, observers_T));
  }
  const at::Tensor index = at::tensor(own_rows, at::kLong).to(floats.device());
  return received_N.index_select(0, index);
}

}  // namespace qtune
