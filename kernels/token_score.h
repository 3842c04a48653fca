// Launchers of the token score kernel: raw device pointers and a stream, no torch. They enqueue and return; they
// allocate nothing and never synchronise.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// Per-row negative log-likelihood, predictive entropy and logsumexp of logits, one block a row.
/// Shapes: logits (num_rows, vocab_size) with `row_stride` elements from row to row; targets (num_rows) in
/// 0..vocab_size-1; out: three (num_rows) arrays. Units: nats; entropy over the whole vocabulary, never negative.
/// Empty: num_rows = 0 launches nothing. A row with NaN or +inf gives non-finite scores.
/// Returns the launch's error.
struct TokenScoreRows {
  int64_t num_rows = 0, vocab_size = 0, row_stride = 0;
  const int32_t* targets = nullptr;
  float *nll = nullptr, *entropy = nullptr, *logsumexp = nullptr;
};

cudaError_t launch_token_score(const float* logits, const TokenScoreRows& rows, cudaStream_t stream);
cudaError_t launch_token_score(const __nv_bfloat16* logits, const TokenScoreRows& rows, cudaStream_t stream);

}  // namespace qtune
