// The head's product and its token scores as one kernel, for Hopper: no logit is ever written. Raw device pointers and
// a stream, no torch.
//
// launch_head_score() gives, for every row and every kHeadScoreTileWords words of the vocabulary, the RowState of
// token_score_row.h over them; launch_merge_row_states() (token_score.h) puts them together.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/token_score.h"

namespace qtune {

inline constexpr int64_t kHeadScoreTileWords = 256;

/// Shapes: hidden (num_rows, dim), head (num_words, dim), both contiguous, at 16-byte borders; targets (num_rows),
/// kIgnoredTarget or within the vocabulary.
struct HeadScore {
  const __nv_bfloat16 *hidden = nullptr, *head = nullptr;
  const int32_t* targets = nullptr;
  int64_t num_rows = 0, dim = 0, num_words = 0;
  RowStateTiles states;           // (ceil(num_words / kHeadScoreTileWords), num_rows)
  float* target_logit = nullptr;  // (num_rows); not written where the target is kIgnoredTarget
};

/// Whether the current device runs it: compute capability 9.0 (H100, H200), and 16-byte rows.
bool head_score_runs(const HeadScore& score);

/// Logits are float32 sums of bfloat16 products, not rounded again. Empty: no rows or words launch nothing.
cudaError_t launch_head_score(const HeadScore& score, cudaStream_t stream);

}  // namespace qtune
