// A block a sample. Tokens are chosen by radix selection: byte by byte, from the highest, histograms narrow down the
// key of the last token that stays; among equal keys the same goes on over their places. No sorting, any length.
#include "kernels/token_salience.h"

#include "kernels/block_sum.h"
#include "kernels/pack.h"
#include "kernels/token_salience_rule.h"

namespace qtune {
namespace {

constexpr int kThreads = 256;
constexpr int kTile = 1024;  // scores that wait in shared memory for the thread that adds them
constexpr int kBins = 256;
constexpr int64_t kMaxBlocks = 2048;  // more than any GPU runs at once; more samples are walked by a stride

struct Segment {
  int64_t begin, size;
};

__device__ Segment segment_of(const SampleOffsets& samples, int64_t sample) {
  const int64_t begin = samples.offsets[sample];
  return {begin, samples.offsets[sample + 1] - begin};
}

/// Left to right means one thread; the others fetch.
__global__ void __launch_bounds__(kThreads) sample_means_kernel(SampleMeans a) {
  QTUNE_SHARED(float, nll, kTile);
  QTUNE_SHARED(float, entropy, kTile);
  for (int64_t b = blockIdx.x; b < a.samples.num_samples; b += gridDim.x) {
    const Segment segment = segment_of(a.samples, b);
    double sum = 0;
    for (int64_t first = 0; first < segment.size; first += kTile) {
      const auto count = static_cast<int>(segment.size - first < kTile ? segment.size - first : kTile);
      for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
        nll[i] = a.nll[segment.begin + first + i];
        entropy[i] = a.entropy[segment.begin + first + i];
      }
      __syncthreads();
      if (threadIdx.x == 0) {
#pragma unroll 8
        for (int i = 0; i < count; ++i) sum += static_cast<double>(nll[i]);
      }
      if (threadIdx.x == kWarpSize) {
#pragma unroll 8
        for (int i = 0; i < count; ++i) sum += static_cast<double>(entropy[i]);
      }
      __syncthreads();  // the tile is written again
    }
    const double mean = sum / static_cast<double>(segment.size);
    if (threadIdx.x == 0) a.mean_nll[b] = mean;
    if (threadIdx.x == kWarpSize) a.mean_entropy[b] = mean;
  }
}

__global__ void __launch_bounds__(kThreads) token_salience_kernel(TokenSalience a) {
  for (int64_t b = blockIdx.x; b < a.samples.num_samples; b += gridDim.x) {
    const Segment segment = segment_of(a.samples, b);
    const int64_t end = segment.begin + segment.size;
    for (int64_t k = segment.begin + threadIdx.x; k < end; k += kThreads) {
      const auto perplexity = [&](int64_t neighbour) {
        const bool inside = neighbour >= segment.begin && neighbour < end;
        const bool same_run = inside && (a.span == nullptr || a.span[neighbour] == a.span[k]);
        return token_perplexity(static_cast<double>(a.nll[same_run ? neighbour : k]));
      };
      a.salience[k] = salience_of(perplexity(k), perplexity(k - 1), perplexity(k + 1), a.lambda,
                                  a.neighbours == NeighbourSum::kMean);
    }
  }
}

/// Shared memory of a selection.
struct Histogram {
  SharedPtr<unsigned> bins;   // kBins
  SharedPtr<unsigned> found;  // the bin that holds the rank, how many are below it, how many in it
};

/// By the first warp: finds the bin that holds the rank-th value (from 1).
__device__ void find_bin(const Histogram& histogram, int64_t rank) {
  constexpr int kBinsALane = kBins / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x);
  unsigned own = 0;
  for (int b = 0; b < kBinsALane; ++b) own += histogram.bins[lane * kBinsALane + b];
  unsigned through = own;  // in this lane's bins and all below
  for (unsigned offset = 1; offset < kWarpSize; offset *= 2) {
    const unsigned below = __shfl_up_sync(kFullWarp, through, offset);
    if (lane >= static_cast<int>(offset)) through += below;
  }
  unsigned below = through - own;
  if (rank <= below || rank > through) return;
  for (int b = lane * kBinsALane;; ++b) {
    const unsigned count = histogram.bins[b];
    if (rank <= static_cast<int64_t>(below) + count) {
      histogram.found[0] = static_cast<unsigned>(b);
      histogram.found[1] = below;
      histogram.found[2] = count;
      return;
    }
    below += count;
  }
}

/// A bound that the `rank` smallest (from 1) of value(i) do not exceed, over all i of 0 .. size - 1 with is_in(i).
/// `rank` becomes 0 when no other value is within it; else so many of those that equal it belong to the smallest. The
/// values' bits above bit `first_shift` + 7 are zero.
template <class IsIn, class Value>
__device__ uint64_t radix_select(const Histogram& histogram, int64_t size, int first_shift, int64_t& rank, IsIn is_in,
                                 Value value) {
  uint64_t result = 0;
  for (int shift = first_shift; shift >= 0; shift -= 8) {
    for (int b = static_cast<int>(threadIdx.x); b < kBins; b += kThreads) histogram.bins[b] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < size; i += kThreads) {
      if (!is_in(i)) continue;
      const uint64_t v = value(i);
      if (v >> shift >> 8 == result >> shift >> 8) atomicAdd(&histogram.bins[v >> shift & (kBins - 1)], 1u);
    }
    __syncthreads();
    if (threadIdx.x < kWarpSize) find_bin(histogram, rank);
    __syncthreads();
    result |= uint64_t{histogram.found[0]} << shift;
    rank -= histogram.found[1];
    if (rank == histogram.found[2]) {  // all of this bin
      rank = 0;
      return result | ((uint64_t{1} << shift) - 1);
    }
  }
  return result;
}

__device__ void fill(uint8_t* mask, int64_t size, uint8_t value) {
  for (int64_t i = threadIdx.x; i < size; i += kThreads) mask[i] = value;
}

/// Marks the `target` tokens of one sample that stay. With more flagged tokens than that, all of them are flagged ones;
/// else the flagged stay and the choice is among the rest.
__device__ void choose(const TokenChoice& a, const Segment& segment, int64_t target, const Histogram& histogram,
                       SharedPtr<int> warps) {
  const double* salience = a.salience + segment.begin;
  const uint8_t* first = a.first == nullptr ? nullptr : a.first + segment.begin;
  uint8_t* mask = a.mask + segment.begin;
  const auto is_first = [&](int64_t i) { return first != nullptr && first[i] != 0; };
  int own_first = 0;
  for (int64_t i = threadIdx.x; i < segment.size; i += kThreads) own_first += is_first(i) ? 1 : 0;
  const int num_first = block_sum<int>(own_first, warps);
  const bool among_first = target <= num_first;
  int64_t rank = among_first ? target : target - num_first;

  const auto key = [&](int64_t i) { return sort_key(salience[i], a.reverse); };
  const auto is_candidate = [&](int64_t i) { return is_first(i) == among_first; };
  const uint64_t last_key = radix_select(histogram, segment.size, 56, rank, is_candidate, key);
  int64_t last_place = segment.size;
  if (rank > 0) {
    int place_shift = 0;
    while (segment.size >> place_shift >> 8 > 0) place_shift += 8;
    last_place = static_cast<int64_t>(radix_select(
        histogram, segment.size, place_shift, rank, [&](int64_t i) { return is_candidate(i) && key(i) == last_key; },
        [](int64_t i) { return static_cast<uint64_t>(i); }));
  }
  for (int64_t i = threadIdx.x; i < segment.size; i += kThreads) {
    const uint64_t k = key(i);
    const bool chosen = k < last_key || (k == last_key && i <= last_place);
    mask[i] = (is_candidate(i) ? chosen : !among_first) ? 1 : 0;
  }
}

__global__ void __launch_bounds__(kThreads) choose_tokens_kernel(TokenChoice a) {
  QTUNE_SHARED(unsigned, bins, kBins);
  QTUNE_SHARED(unsigned, found, 3);
  QTUNE_SHARED(int, warps, kMaxWarps);
  for (int64_t b = blockIdx.x; b < a.samples.num_samples; b += gridDim.x) {
    const Segment segment = segment_of(a.samples, b);
    const TokenFate fate = a.fates == nullptr ? TokenFate::kChoose : a.fates[b];
    int64_t target = fate == TokenFate::kDropAll ? 0 : segment.size;
    if (fate == TokenFate::kChoose) target = kept_token_count(a.keep, segment.size);
    if (threadIdx.x == 0 && a.num_kept != nullptr) a.num_kept[b] = target;
    if (target == 0 || target == segment.size) {
      fill(a.mask + segment.begin, segment.size, target == 0 ? 0 : 1);
    } else {
      choose(a, segment, target, {bins, found}, warps);
    }
  }
}

}  // namespace

cudaError_t launch_sample_means(const SampleMeans& a, cudaStream_t stream) {
  if (a.samples.num_samples == 0) return cudaSuccess;
  return launch<sample_means_kernel>({grid_for(std::min(a.samples.num_samples, kMaxBlocks)), kThreads, 0, stream}, a);
}

cudaError_t launch_token_salience(const TokenSalience& a, cudaStream_t stream) {
  if (a.samples.num_samples == 0) return cudaSuccess;
  return launch<token_salience_kernel>({grid_for(std::min(a.samples.num_samples, kMaxBlocks)), kThreads, 0, stream}, a);
}

cudaError_t launch_choose_tokens(const TokenChoice& a, cudaStream_t stream) {
  if (a.samples.num_samples == 0) return cudaSuccess;
  return launch<choose_tokens_kernel>({grid_for(std::min(a.samples.num_samples, kMaxBlocks)), kThreads, 0, stream}, a);
}

}  // namespace qtune
