// The head with cross entropy and entropy. Logits exist tile by tile in a workspace, never (N, V).
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "kernel_ops.h"
#include "kernels/head_score.h"
#include "kernels/token_score.h"
#include "products.h"
#include "runtime.h"

namespace qtune {
namespace {

/// Score form: rows x words of a tile. 2,048 x 8,192 in bfloat16 are 32 MiB, which an H100's L2 (50 MiB) holds beside
/// the next product's operands; a chunk of the head's rows is read once for many rows.
constexpr int64_t kTileWords = 8192, kTileBytes = 32 << 20;
/// Training form: whole rows, since the gradient needs their logsumexp. Each tile adds to all of the head's gradient,
/// so few large ones are better.
constexpr int64_t kTrainingTileBytes = 96 << 20, kFewestTrainingRows = 128;

/// Score form in one kernel, without a logit in memory: states of all rows and tiles of words, at most so many bytes.
/// Fewer rows than a cluster of it takes go the way of the tiles, whose logits are float32 then too: what a sample is
/// scored does not depend on how many others are scored with it.
constexpr int64_t kStatesBytes = 64 << 20, kFewestDirectRows = 256;

/// State and results of all N rows.
struct Rows {
  explicit Rows(const at::Tensor& targets_N) : targets(targets_N) {
    const auto options = targets_N.options().dtype(at::kFloat);
    state = at::empty({4, targets_N.size(0)}, options);
    scores = {at::empty({targets_N.size(0)}, options), at::empty({targets_N.size(0)}, options),
              at::empty({targets_N.size(0)}, options)};
  }
  int64_t size() const { return targets.size(0); }
  TokenScoreState state_from(int64_t row) const {
    float* s = pointer<float>(state) + row;
    return {.max = s, .sum = s + size(), .wsum = s + 2 * size(), .target_logit = s + 3 * size()};
  }
  const int32_t* targets_from(int64_t row) const { return pointer<int32_t>(targets) + row; }
  void finish(int64_t row, int64_t count) const {
    check_launch("token_scores_finish",
                 launch_token_scores_finish(count, targets_from(row), state_from(row),
                                            {.nll = pointer<float>(scores.nll_N) + row,
                                             .entropy = pointer<float>(scores.entropy_N) + row,
                                             .logsumexp = pointer<float>(scores.logsumexp_N) + row},
                                            current_stream()));
  }

  at::Tensor targets, state;
  RowScores scores;
};

/// Logits of `count` rows from `row`, by the words from `word` of the head, and their part of the scores.
void score_tile(const Rows& rows, int64_t row, const at::Tensor& hidden, int64_t word, const at::Tensor& head,
                const at::Tensor& logits) {
  product_with_transposed(hidden, head, logits);
  const LogitsTile tile{.num_rows = hidden.size(0),
                        .num_words = head.size(0),
                        .row_stride = logits.stride(0),
                        .first_word = word,
                        .targets = rows.targets_from(row)};
  const ChunkKind kind = word == 0 ? ChunkKind::kFirst : ChunkKind::kNext;
  dispatch_kernel_type(logits, [&](auto type) {
    using T = std::remove_pointer_t<decltype(type)>;
    check_launch("token_scores_chunk", launch_token_scores_chunk(strided_pointer<T>(logits), tile, kind,
                                                                 rows.state_from(row), current_stream()));
  });
}

HeadScore head_score_of(const Rows& rows, const at::Tensor& hidden_ND, const at::Tensor& head_VD) {
  return {.hidden = pointer<__nv_bfloat16>(hidden_ND),
          .head = pointer<__nv_bfloat16>(head_VD),
          .targets = rows.targets_from(0),
          .num_rows = hidden_ND.size(0),
          .dim = hidden_ND.size(1),
          .num_words = head_VD.size(0),
          .states = {},
          .target_logit = rows.state_from(0).target_logit};
}

/// Whether that kernel takes such a head, on this device.
bool head_score_takes(const Rows& rows, const at::Tensor& hidden_ND, const at::Tensor& head_VD) {
  return hidden_ND.scalar_type() == at::kBFloat16 && hidden_ND.is_contiguous() && head_VD.is_contiguous() &&
         head_score_runs(head_score_of(rows, hidden_ND, head_VD));
}

void score_directly(const Rows& rows, const at::Tensor& hidden_ND, const at::Tensor& head_VD) {
  const int64_t n = hidden_ND.size(0), num_tiles = (head_VD.size(0) + kHeadScoreTileWords - 1) / kHeadScoreTileWords;
  const int64_t fitting = kStatesBytes / (3 * num_tiles * static_cast<int64_t>(sizeof(float)));
  const int64_t most = std::min(n, std::max(fitting / kFewestDirectRows, int64_t{1}) * kFewestDirectRows);
  const at::Tensor workspace = float_workspace(hidden_ND, 3 * num_tiles * most);
  for (int64_t row = 0; row < n; row += most) {
    const int64_t count = std::min(most, n - row);
    float* const states = pointer<float>(workspace);
    HeadScore score = head_score_of(rows, hidden_ND.narrow(0, row, count), head_VD);
    score.targets = rows.targets_from(row);
    score.target_logit = rows.state_from(row).target_logit;
    score.states = {.max = states, .sum = states + num_tiles * count, .wsum = states + 2 * num_tiles * count};
    check_launch("head_score", launch_head_score(score, current_stream()));
    check_launch("merge_row_states",
                 launch_merge_row_states(count, num_tiles, score.states, rows.state_from(row), current_stream()));
  }
}

}  // namespace

RowScores KernelOps::linear_cross_entropy(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                          const at::Tensor& targets_N) const {
  const int64_t n = hidden_ND.size(0), v = head_VD.size(0);
  const Rows rows(targets_N);
  if (n == 0) return rows.scores;
  const bool takes = head_score_takes(rows, hidden_ND, head_VD);
  if (takes && n >= kFewestDirectRows) {
    score_directly(rows, hidden_ND, head_VD);
    rows.finish(0, n);
    return rows.scores;
  }
  const at::ScalarType logit_type = takes ? at::kFloat : hidden_ND.scalar_type();
  const int64_t tile_words = std::min(v, kTileWords);
  const int64_t logit_bytes = static_cast<int64_t>(c10::elementSize(logit_type));
  const int64_t tile_rows = std::min<int64_t>(n, kTileBytes / (tile_words * logit_bytes));
  const at::Tensor workspace = at::empty({tile_rows, tile_words}, hidden_ND.options().dtype(logit_type));
  for (int64_t word = 0; word < v; word += tile_words) {
    const at::Tensor head = head_VD.narrow(0, word, std::min(tile_words, v - word));
    for (int64_t row = 0; row < n; row += tile_rows) {
      const at::Tensor hidden = hidden_ND.narrow(0, row, std::min(tile_rows, n - row));
      score_tile(rows, row, hidden, word, head, workspace.narrow(0, 0, hidden.size(0)).narrow(1, 0, head.size(0)));
    }
  }
  rows.finish(0, n);
  return rows.scores;
}

RowScores KernelOps::linear_cross_entropy_backward(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                                   const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                                   const at::Tensor& dhead_VD, const at::Tensor& weights_N) const {
  const int64_t n = hidden_ND.size(0), v = head_VD.size(0);
  const Rows rows(targets_N);
  if (n == 0) return rows.scores;
  const int64_t fitting = kTrainingTileBytes / (v * hidden_ND.element_size());
  const int64_t tile_rows = std::min(n, std::max(fitting, kFewestTrainingRows));
  const at::Tensor workspace = at::empty({tile_rows, v}, hidden_ND.options());
  for (int64_t row = 0; row < n; row += tile_rows) {
    const int64_t count = std::min(tile_rows, n - row);
    const at::Tensor hidden = hidden_ND.narrow(0, row, count), logits = workspace.narrow(0, 0, count);
    score_tile(rows, row, hidden, 0, head_VD, logits);
    rows.finish(row, count);
    const LogitsTile tile{
        .num_rows = count, .num_words = v, .row_stride = v, .first_word = 0, .targets = rows.targets_from(row)};
    const TokenGradient gradient{.logsumexp = pointer<float>(rows.scores.logsumexp_N) + row,
                                 .row_scales = weights_N.defined() ? pointer<float>(weights_N) + row : nullptr};
    dispatch_kernel_type(logits, [&](auto type) {
      using T = std::remove_pointer_t<decltype(type)>;
      check_launch("token_gradient", launch_token_gradient(pointer<T>(logits), tile, gradient, current_stream()));
    });
    at::Tensor dhidden = dhidden_ND.narrow(0, row, count);
    at::mm_out(dhidden, logits, head_VD);
    if (dhead_VD.defined()) add_transposed_product(logits, hidden, dhead_VD);
  }
  return rows.scores;
}

}  // namespace qtune
