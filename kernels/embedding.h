// Launchers of the embedding. They enqueue and return; they allocate nothing and never synchronise.
// Legend: N tokens, V vocabulary, D hidden size.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace qtune {

/// x[n] = table[ids[n]], as float32. Shapes: table (V, D) of T, float or __nv_bfloat16; ids (N) int32 in 0..V-1, not
/// checked; out: x (N, D).
/// Empty: num_tokens = 0 launches nothing. Returns the launch's error.
template <class T>
struct Embed {
  int64_t num_tokens = 0, dim = 0;
  const T* table = nullptr;
  const int32_t* ids = nullptr;
  float* x = nullptr;
};

template <class T>
cudaError_t launch_embed(const Embed<T>& args, cudaStream_t stream);

/// dtable[ids[n]] += dx[n]. The caller gives the ids sorted, stably, and each one's place before sorting.
/// Shapes: dx (N, D) float32; sorted_ids (N) int32 ascending; order (N) int32: sorted_ids[i] is the id of token
/// order[i]; dtable (V, D) float32; workspace: embed_backward_workspace floats.
/// Order: equal inputs give equal bits. Uses of an id are added one by one in the order of n; where they cross a
/// multiple of kEmbedPiece in the sorted list, piece by piece, so that an id used by every second token costs little
/// more. Empty: num_tokens = 0 launches nothing.
struct EmbedBackward {
  int64_t num_tokens = 0, dim = 0;
  const float* dx = nullptr;
  const int32_t *sorted_ids = nullptr, *order = nullptr;
  float* dtable = nullptr;
  float* workspace = nullptr;
};

inline constexpr int64_t kEmbedPiece = 64;

cudaError_t launch_embed_backward(const EmbedBackward& args, cudaStream_t stream);

/// Floats that launch_embed_backward needs.
int64_t embed_backward_workspace(int64_t num_tokens, int64_t dim);

}  // namespace qtune
