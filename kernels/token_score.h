// Launchers of the token score kernels: raw device pointers and a stream, no torch. They enqueue and return the
// launch's error; they allocate nothing and never synchronise.
//
// Scores of rows whose logits never exist as a whole: launch_token_scores_chunk() for each chunk of the vocabulary, in
// any order, then launch_token_scores_finish(). For training, launch_token_gradient() turns the same tiles into their
// gradient. A row whose target is kIgnoredTarget is not read; its scores and its gradient are 0.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

inline constexpr int32_t kIgnoredTarget = -1;

/// Some rows of logits by a chunk of the vocabulary: words first_word to first_word + num_words - 1.
/// Shapes: logits (num_rows, num_words) with `row_stride` elements from row to row, at any address that suits the type;
/// targets (num_rows), kIgnoredTarget or in the whole vocabulary.
struct LogitsTile {
  int64_t num_rows = 0, num_words = 0, row_stride = 0, first_word = 0;
  const int32_t* targets = nullptr;
};

/// What is known of each row after some chunks: the RowState of token_score_row.h and the target's logit (NaN until its
/// chunk came by), four arrays (num_rows).
struct TokenScoreState {
  float *max = nullptr, *sum = nullptr, *wsum = nullptr, *target_logit = nullptr;
};

/// States over parts of the vocabulary, of all rows: three arrays (num_tiles, num_rows).
struct RowStateTiles {
  float *max = nullptr, *sum = nullptr, *wsum = nullptr;
};

enum class ChunkKind {
  kFirst,  // writes the state
  kNext,   // adds to it
};

/// Three arrays (num_rows), in nats. Entropy is over the whole vocabulary and never negative.
struct TokenScores {
  float *nll = nullptr, *entropy = nullptr, *logsumexp = nullptr;
};

/// Empty: no rows launch nothing; no words leave the state as it is, or make it that of no logits (kFirst).
cudaError_t launch_token_scores_chunk(const float* logits, const LogitsTile& tile, ChunkKind kind,
                                      const TokenScoreState& state, cudaStream_t stream);
cudaError_t launch_token_scores_chunk(const __nv_bfloat16* logits, const LogitsTile& tile, ChunkKind kind,
                                      const TokenScoreState& state, cudaStream_t stream);

/// state.max, sum and wsum = those of all tiles together; the target's logit is left as it is. No tiles: the state of
/// no logits.
cudaError_t launch_merge_row_states(int64_t num_rows, int64_t num_tiles, const RowStateTiles& tiles,
                                    const TokenScoreState& state, cudaStream_t stream);

/// A row with NaN or +inf, without any finite logit, or whose target was in no chunk gives non-finite scores.
cudaError_t launch_token_scores_finish(int64_t num_rows, const int32_t* targets, const TokenScoreState& state,
                                       const TokenScores& scores, cudaStream_t stream);

/// d nll / d logits = softmax - onehot(target), times `scale` and the row's own scale.
struct TokenGradient {
  const float* logsumexp = nullptr;   // (num_rows), over the whole vocabulary
  const float* row_scales = nullptr;  // (num_rows), or null for 1
  float scale = 1.0f;
};

/// In place: the logits of the tile become their gradient, rounded to the tile's type.
cudaError_t launch_token_gradient(float* logits, const LogitsTile& tile, const TokenGradient& gradient,
                                  cudaStream_t stream);
cudaError_t launch_token_gradient(__nv_bfloat16* logits, const LogitsTile& tile, const TokenGradient& gradient,
                                  cudaStream_t stream);

}  // namespace qtune
