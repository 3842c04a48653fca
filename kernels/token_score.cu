// Each thread folds a strided part of its row into a RowState, warps combine by shuffles, the first warp combines the
// warps. Compiled in every build that has nvcc; not yet run on a GPU.
#include <algorithm>

#include "kernels/device.h"
#include "kernels/token_score.h"
#include "kernels/token_score_row.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kMaxBlocks = 65535;  // more rows are walked by a grid stride

__device__ float to_float(float x) { return x; }
__device__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

__device__ RowState combine_warp(RowState state) {
  for (int offset = 16; offset > 0; offset /= 2) {
    RowState other;
    other.max = __shfl_xor_sync(0xffffffffu, state.max, offset);
    other.sum = __shfl_xor_sync(0xffffffffu, state.sum, offset);
    other.wsum = __shfl_xor_sync(0xffffffffu, state.wsum, offset);
    state = combine(state, other);
  }
  return state;
}

template <class T>
__global__ void token_score_kernel(const T* logits, TokenScoreRows rows) {
  QTUNE_SHARED(RowState, warp_states, kWarps);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int64_t row = blockIdx.x; row < rows.num_rows; row += gridDim.x) {
    const T* z = logits + row * rows.row_stride;
    RowState state;
    for (int64_t j = threadIdx.x; j < rows.vocab_size; j += kThreads) update(state, to_float(z[j]));
    state = combine_warp(state);
    if (lane == 0) warp_states[warp] = state;
    __syncthreads();
    if (warp == 0) {
      state = combine_warp(lane < kWarps ? warp_states[lane] : RowState{});
      if (lane == 0) {
        const float lse = logsumexp(state);
        rows.nll[row] = lse - to_float(z[rows.targets[row]]);
        rows.entropy[row] = entropy(state);
        rows.logsumexp[row] = lse;
      }
    }
    __syncthreads();  // warp_states is written again for the next row
  }
}

template <class T>
cudaError_t launch_scores(const T* logits, const TokenScoreRows& rows, cudaStream_t stream) {
  if (rows.num_rows == 0) return cudaSuccess;
  const auto blocks = static_cast<unsigned>(std::min(rows.num_rows, kMaxBlocks));
  return launch<token_score_kernel<T>>({blocks, kThreads, 0, stream}, logits, rows);
}

}  // namespace

cudaError_t launch_token_score(const float* logits, const TokenScoreRows& rows, cudaStream_t stream) {
  return launch_scores(logits, rows, stream);
}

cudaError_t launch_token_score(const __nv_bfloat16* logits, const TokenScoreRows& rows, cudaStream_t stream) {
  return launch_scores(logits, rows, stream);
}

}  // namespace qtune
