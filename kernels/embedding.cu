// Forward: a block a token. Backward: pieces of kEmbedPiece places of the sorted list, each summed by threads that own
// columns. A use of an id that crosses the border of a piece goes to the workspace, which a second launch adds up.
#include "kernels/embedding.h"

#include "kernels/pack.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxColumnBlocks = 64;  // more columns are walked by a stride

template <class T, int W>
__global__ void __launch_bounds__(kThreads) embed_kernel(Embed<T> a) {
  for (int64_t n = blockIdx.x; n < a.num_tokens; n += gridDim.x) {
    const T* row = a.table + a.ids[n] * a.dim;
    for (int64_t j = int64_t{threadIdx.x} * W; j < a.dim; j += int64_t{blockDim.x} * W) {
      const Pack<T, W> in = load<W>(row + j);
      Pack<float, W> out;
      for (int w = 0; w < W; ++w) out.v[w] = to_float(in.v[w]);
      store(a.x + n * a.dim + j, out);
    }
  }
}

/// One piece of the sorted list: places first .. last - 1.
struct Piece {
  int64_t number, first, last;
};

__device__ Piece piece_at(const EmbedBackward& a, int64_t number) {
  const int64_t first = number * kEmbedPiece, end = first + kEmbedPiece;
  return {number, first, end < a.num_tokens ? end : a.num_tokens};
}

/// Workspace row of a piece: slot 0 for a run that began in an earlier piece, slot 1 for one that begins in this piece
/// and goes on behind it.
__device__ float* crossing_sums(const EmbedBackward& a, int64_t piece, int slot) {
  return a.workspace + (2 * piece + slot) * a.dim;
}

template <int W>
__device__ void add_row(Pack<float, W>& sum, const float* row) {
  const Pack<float, W> addend = load<W>(row);
  for (int w = 0; w < W; ++w) sum.v[w] += addend.v[w];
}

/// Sums places begin .. end - 1, all of one id, in columns j .. j + W - 1, to where the run's kind says.
template <int W>
__device__ void add_run(const EmbedBackward& a, const Piece& piece, int64_t begin, int64_t end, int64_t j) {
  const int32_t id = a.sorted_ids[begin];
  const bool from_before = begin == piece.first && begin > 0 && a.sorted_ids[begin - 1] == id;
  const bool goes_on = end == piece.last && end < a.num_tokens && a.sorted_ids[end] == id;
  float* out = a.dtable + id * a.dim + j;
  Pack<float, W> sum = {};
  if (from_before || goes_on) {
    out = crossing_sums(a, piece.number, from_before ? 0 : 1) + j;
  } else {
    sum = load<W>(out);
  }
#pragma unroll 4
  for (int64_t i = begin; i < end; ++i) add_row(sum, a.dx + a.order[i] * a.dim + j);
  store(out, sum);
}

template <int W>
__global__ void __launch_bounds__(kThreads) add_pieces_kernel(EmbedBackward a, int64_t num_pieces) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * W;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x * W;
  for (int64_t p = blockIdx.y; p < num_pieces; p += gridDim.y) {
    const Piece piece = piece_at(a, p);
    for (int64_t begin = piece.first, end = begin; begin < piece.last; begin = end) {
      while (end < piece.last && a.sorted_ids[end] == a.sorted_ids[begin]) ++end;
      for (int64_t j = first; j < a.dim; j += stride) add_run<W>(a, piece, begin, end, j);
    }
  }
}

/// First place from `begin` on that holds another id than `id`.
__device__ int64_t run_end(const EmbedBackward& a, int64_t begin, int32_t id) {
  int64_t low = begin, high = a.num_tokens;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (a.sorted_ids[middle] == id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/// The runs that begin in piece p and go on behind it: their parts, in order.
template <int W>
__global__ void __launch_bounds__(kThreads) add_crossing_runs_kernel(EmbedBackward a, int64_t num_pieces) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * W;
  const int64_t stride = int64_t{gridDim.x} * blockDim.x * W;
  for (int64_t p = blockIdx.y; p < num_pieces; p += gridDim.y) {
    const Piece piece = piece_at(a, p);
    const int32_t id = a.sorted_ids[piece.last - 1];
    const bool goes_on = piece.last < a.num_tokens && a.sorted_ids[piece.last] == id;
    const bool from_before = piece.first > 0 && a.sorted_ids[piece.first - 1] == id;
    if (!goes_on || from_before) continue;
    const int64_t last_piece = (run_end(a, piece.last, id) - 1) / kEmbedPiece;
    for (int64_t j = first; j < a.dim; j += stride) {
      float* out = a.dtable + id * a.dim + j;
      Pack<float, W> sum = load<W>(crossing_sums(a, p, 1) + j);
#pragma unroll 8
      for (int64_t q = p + 1; q <= last_piece; ++q) add_row(sum, crossing_sums(a, q, 0) + j);
      add_row(sum, out);
      store(out, sum);
    }
  }
}

template <int W>
cudaError_t run_backward(const EmbedBackward& a, cudaStream_t stream) {
  const int64_t num_pieces = ceil_div(a.num_tokens, kEmbedPiece), num_packs = a.dim / W;
  const unsigned threads = threads_for(num_packs, kThreads);
  const auto columns = static_cast<unsigned>(std::min(ceil_div(num_packs, threads), kMaxColumnBlocks));
  const LaunchConfig config{dim3(columns, grid_for(num_pieces)), threads, 0, stream};
  const cudaError_t error = launch<add_pieces_kernel<W>>(config, a, num_pieces);
  if (error != cudaSuccess) return error;
  return launch<add_crossing_runs_kernel<W>>(config, a, num_pieces);
}

}  // namespace

template <class T>
cudaError_t launch_embed(const Embed<T>& a, cudaStream_t stream) {
  if (a.num_tokens == 0 || a.dim == 0) return cudaSuccess;
  constexpr int kPack = 16 / sizeof(T);
  const auto config = [&](int64_t pack) {
    return LaunchConfig{grid_for(a.num_tokens), threads_for(a.dim / pack, kThreads), 0, stream};
  };
  const bool packs = allows_packs<kPack>(a.table, a.dim) && allows_packs<kPack>(a.x, a.dim);
  return packs ? launch<embed_kernel<T, kPack>>(config(kPack), a) : launch<embed_kernel<T, 1>>(config(1), a);
}

cudaError_t launch_embed_backward(const EmbedBackward& a, cudaStream_t stream) {
  if (a.num_tokens == 0 || a.dim == 0) return cudaSuccess;
  const bool packs =
      allows_packs<4>(a.dx, a.dim) && allows_packs<4>(a.dtable, a.dim) && allows_packs<4>(a.workspace, a.dim);
  return packs ? run_backward<4>(a, stream) : run_backward<1>(a, stream);
}

int64_t embed_backward_workspace(int64_t num_tokens, int64_t dim) {
  return 2 * ceil_div(num_tokens, kEmbedPiece) * dim;
}

template cudaError_t launch_embed(const Embed<float>&, cudaStream_t);
template cudaError_t launch_embed(const Embed<__nv_bfloat16>&, cudaStream_t);

}  // namespace qtune
