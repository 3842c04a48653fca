// Each thread folds its part of a row into a RowState, lanes combine by shuffles, the warps of a block by shared
// memory. Long rows take a block each, short ones a warp each. Rows are read once, 16 bytes a load: the few elements
// before the first 16-byte border and behind the last one are taken singly, so rows may begin anywhere.
#include "kernels/token_score.h"

#include <algorithm>
#include <limits>

#include "kernels/device.h"
#include "kernels/pack.h"
#include "kernels/token_score_row.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
// A warp takes a row of up to this many words in at most 8 (bfloat16) or 16 (float) loads a lane.
constexpr int64_t kWarpRowWords = 2048;

/// One block for each, in x, where a grid may have 2^31 - 1. More are no valid launch.
unsigned blocks_for(int64_t count) {
  return static_cast<unsigned>(std::min<int64_t>(count, std::numeric_limits<unsigned>::max()));
}

/// Who works on a row: `count` threads, of which this is number `rank`.
struct Team {
  int rank, count;
};

/// Calls single(j) and pack(j), j the first of W words, such that the team covers 0..num_words-1.
template <class T, class Single, class WholePack>
__device__ void walk_row(const T* row, int64_t num_words, Team team, Single single, WholePack pack) {
  constexpr int W = 16 / sizeof(T);
  const int64_t past_border = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) / sizeof(T) % W);
  int64_t head = past_border == 0 ? 0 : W - past_border;
  if (head > num_words) head = num_words;
  const int64_t end = head + (num_words - head) / W * W;
  if (team.rank < head) single(int64_t{team.rank});
#pragma unroll 4
  for (int64_t j = head + int64_t{team.rank} * W; j < end; j += int64_t{team.count} * W) pack(j);
  if (end + team.rank < num_words) single(end + team.rank);
}

template <class T>
__device__ RowState fold_part(const T* row, int64_t num_words, Team team) {
  constexpr int W = 16 / sizeof(T);
  RowState state;
  walk_row(
      row, num_words, team, [&](int64_t j) { update(state, to_float(row[j])); },
      [&](int64_t j) {
        const Pack<T, W> pack = load<W>(row + j);
        float x[W];
        for (int k = 0; k < W; ++k) x[k] = to_float(pack.v[k]);
        update_all(state, x);
      });
  return state;
}

__device__ RowState combine_lanes(RowState state) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    RowState other;
    other.max = __shfl_xor_sync(kFullWarp, state.max, offset);
    other.sum = __shfl_xor_sync(kFullWarp, state.sum, offset);
    other.wsum = __shfl_xor_sync(kFullWarp, state.wsum, offset);
    state = combine(state, other);
  }
  return state;
}

/// One thread for each row puts what the chunk gave into the row's state.
template <class T>
__device__ void merge(const T* row_logits, const LogitsTile& tile, int64_t row, ChunkKind kind, RowState chunk,
                      const TokenScoreState& state) {
  const int64_t target = tile.targets[row] - tile.first_word;
  const bool has_target = tile.targets[row] != kIgnoredTarget && target >= 0 && target < tile.num_words;
  if (kind == ChunkKind::kNext) chunk = combine({state.max[row], state.sum[row], state.wsum[row]}, chunk);
  state.max[row] = chunk.max;
  state.sum[row] = chunk.sum;
  state.wsum[row] = chunk.wsum;
  if (has_target) {
    state.target_logit[row] = to_float(row_logits[target]);
  } else if (kind == ChunkKind::kFirst) {
    state.target_logit[row] = NAN;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    score_long_rows_kernel(const T* logits, LogitsTile tile, ChunkKind kind, TokenScoreState state) {
  QTUNE_SHARED(RowState, warp_states, kWarps);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarpSize, lane = thread % kWarpSize;
  const int64_t row = blockIdx.x;
  const T* row_logits = logits + row * tile.row_stride;
  if (tile.targets[row] == kIgnoredTarget) {  // the same for all threads of the block, so none is left at the barrier
    if (thread == 0) merge(row_logits, tile, row, kind, RowState{}, state);
    return;
  }
  const RowState warp_state = combine_lanes(fold_part(row_logits, tile.num_words, {thread, kThreads}));
  if (lane == 0) warp_states[warp] = warp_state;
  __syncthreads();
  if (warp != 0) return;
  const RowState chunk = combine_lanes(lane < kWarps ? warp_states[lane] : RowState{});
  if (lane == 0) merge(row_logits, tile, row, kind, chunk, state);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    score_short_rows_kernel(const T* logits, LogitsTile tile, ChunkKind kind, TokenScoreState state) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp;
  if (row >= tile.num_rows) return;
  const T* row_logits = logits + row * tile.row_stride;
  if (tile.targets[row] == kIgnoredTarget) {  // the same for all lanes
    if (lane == 0) merge(row_logits, tile, row, kind, RowState{}, state);
    return;
  }
  const RowState chunk = combine_lanes(fold_part(row_logits, tile.num_words, {lane, kWarpSize}));
  if (lane == 0) merge(row_logits, tile, row, kind, chunk, state);
}

constexpr int kMergeParts = kThreads / kWarpSize;  // of the tiles: a warp takes 32 rows of one part

__global__ void __launch_bounds__(kThreads)
    merge_states_kernel(int64_t num_rows, int64_t num_tiles, RowStateTiles tiles, TokenScoreState state) {
  QTUNE_SHARED(RowState, parts, kThreads);
  const int thread = static_cast<int>(threadIdx.x), part = thread / kWarpSize, lane = thread % kWarpSize;
  const int64_t row = int64_t{blockIdx.x} * kWarpSize + lane;
  RowState merged;
  if (row < num_rows) {
    for (int64_t tile = part; tile < num_tiles; tile += kMergeParts) {
      const int64_t place = tile * num_rows + row;
      merged = combine(merged, {tiles.max[place], tiles.sum[place], tiles.wsum[place]});
    }
  }
  parts[thread] = merged;
  __syncthreads();
  if (part != 0 || row >= num_rows) return;
  for (int other = 1; other < kMergeParts; ++other) {
    const RowState state_of_part = parts[other * kWarpSize + lane];
    merged = combine(merged, state_of_part);
  }
  state.max[row] = merged.max;
  state.sum[row] = merged.sum;
  state.wsum[row] = merged.wsum;
}

__global__ void __launch_bounds__(kThreads)
    finish_kernel(int64_t num_rows, const int32_t* targets, TokenScoreState state, TokenScores scores) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= num_rows) return;
  const bool ignored = targets[row] == kIgnoredTarget;
  const RowState whole{state.max[row], state.sum[row], state.wsum[row]};
  scores.nll[row] = ignored ? 0.0f : nll(whole, state.target_logit[row]);
  scores.entropy[row] = ignored ? 0.0f : entropy(whole);
  scores.logsumexp[row] = ignored ? 0.0f : logsumexp(whole);
}

/// What turns one row of the tile into its gradient.
struct RowGradient {
  float logsumexp, scale;
  int64_t target;  // within the chunk, or outside
  bool ignored;

  __device__ float operator()(float logit, int64_t j) const {
    if (ignored) return 0.0f;
    const float log_p = logit - logsumexp;
    // p - 1 as expm1: right even where p is within a rounding of 1.
    return scale * (j == target ? expm1f(log_p) : expf(log_p));
  }
};

template <class T>
__device__ void write_gradient(T* row, int64_t num_words, Team team, RowGradient gradient) {
  constexpr int W = 16 / sizeof(T);
  walk_row(
      row, num_words, team, [&](int64_t j) { row[j] = from_float<T>(gradient(to_float(row[j]), j)); },
      [&](int64_t j) {
        Pack<T, W> pack = load<W>(row + j);
        for (int k = 0; k < W; ++k) pack.v[k] = from_float<T>(gradient(to_float(pack.v[k]), j + k));
        store<W>(row + j, pack);
      });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(T* logits, LogitsTile tile, TokenGradient gradient, int team_size) {
  const int thread = static_cast<int>(threadIdx.x), teams = kThreads / team_size;
  const int64_t row = int64_t{blockIdx.x} * teams + thread / team_size;
  if (row >= tile.num_rows) return;
  const float row_scale = gradient.row_scales == nullptr ? 1.0f : gradient.row_scales[row];
  const int32_t target = tile.targets[row];
  write_gradient(
      logits + row * tile.row_stride, tile.num_words, {thread % team_size, team_size},
      {gradient.logsumexp[row], gradient.scale * row_scale, target - tile.first_word, target == kIgnoredTarget});
}

template <class T>
cudaError_t launch_chunk(const T* logits, const LogitsTile& tile, ChunkKind kind, const TokenScoreState& state,
                         cudaStream_t stream) {
  if (tile.num_rows == 0) return cudaSuccess;
  if (tile.num_words <= kWarpRowWords) {
    return launch<score_short_rows_kernel<T>>({blocks_for(ceil_div(tile.num_rows, kWarps)), kThreads, 0, stream},
                                              logits, tile, kind, state);
  }
  return launch<score_long_rows_kernel<T>>({blocks_for(tile.num_rows), kThreads, 0, stream}, logits, tile, kind, state);
}

template <class T>
cudaError_t launch_gradient(T* logits, const LogitsTile& tile, const TokenGradient& gradient, cudaStream_t stream) {
  if (tile.num_rows == 0 || tile.num_words == 0) return cudaSuccess;
  const int team_size = tile.num_words <= kWarpRowWords ? kWarpSize : kThreads;
  const unsigned grid = blocks_for(ceil_div(tile.num_rows, kThreads / team_size));
  return launch<gradient_kernel<T>>({grid, kThreads, 0, stream}, logits, tile, gradient, team_size);
}

}  // namespace

cudaError_t launch_token_scores_chunk(const float* logits, const LogitsTile& tile, ChunkKind kind,
                                      const TokenScoreState& state, cudaStream_t stream) {
  return launch_chunk(logits, tile, kind, state, stream);
}

cudaError_t launch_token_scores_chunk(const __nv_bfloat16* logits, const LogitsTile& tile, ChunkKind kind,
                                      const TokenScoreState& state, cudaStream_t stream) {
  return launch_chunk(logits, tile, kind, state, stream);
}

cudaError_t launch_merge_row_states(int64_t num_rows, int64_t num_tiles, const RowStateTiles& tiles,
                                    const TokenScoreState& state, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  return launch<merge_states_kernel>({blocks_for(ceil_div(num_rows, kWarpSize)), kThreads, 0, stream}, num_rows,
                                     num_tiles, tiles, state);
}

cudaError_t launch_token_scores_finish(int64_t num_rows, const int32_t* targets, const TokenScoreState& state,
                                       const TokenScores& scores, cudaStream_t stream) {
  if (num_rows == 0) return cudaSuccess;
  const unsigned grid = blocks_for(ceil_div(num_rows, kThreads));
  return launch<finish_kernel>({grid, kThreads, 0, stream}, num_rows, targets, state, scores);
}

cudaError_t launch_token_gradient(float* logits, const LogitsTile& tile, const TokenGradient& gradient,
                                  cudaStream_t stream) {
  return launch_gradient(logits, tile, gradient, stream);
}

cudaError_t launch_token_gradient(__nv_bfloat16* logits, const LogitsTile& tile, const TokenGradient& gradient,
                                  cudaStream_t stream) {
  return launch_gradient(logits, tile, gradient, stream);
}

}  // namespace qtune
