// One product of (128 x 2) rows by 256 words after the other, on the tensor cores (wgmma), with the scores as their
// epilogue. A block has a warpgroup that loads and two that multiply, 64 rows each; two blocks that stand side by side
// in rows form a cluster, each loads one half of the words' rows and sends it to both (L2 would not keep up otherwise).
//
// Stages of shared memory go round between loading (mbarrier `full`) and multiplying (mbarrier `empty`). Sums stay in
// registers: a thread has 64 words of 2 rows, from which it makes its part of the rows' states. The target's logit is
// caught where it comes by.
//
// nvcc only: what is Hopper's own has no emulation (tests/simt); tests/train/gpu_test.cpp holds it against the plain
// twin on a GPU. Other architectures compile an empty kernel, which is never launched.
#include <cuda.h>

#include <algorithm>

#include "kernels/device.h"
#include "kernels/head_score.h"
#include "kernels/pack.h"
#include "kernels/sm90_ptx.h"

namespace qtune {
namespace {

constexpr int kRows = 128, kWords = kHeadScoreTileWords, kDepth = 64;  // of a block's tile, of a stage
constexpr int kCluster = 2, kStages = 4;
constexpr int kConsumers = 2, kWarpgroup = 128, kThreads = (1 + kConsumers) * kWarpgroup;
constexpr int kHiddenBytes = kRows * kDepth * 2, kHeadBytes = kWords * kDepth * 2;
constexpr int kStageBytes = kHiddenBytes + kHeadBytes;
// 128-byte swizzled tiles begin at 1,024-byte borders.
constexpr size_t kSharedBytes = size_t{kStages} * kStageBytes + 1024 + 2 * kStages * sizeof(uint64_t);
/// Rows whose hidden states a wave of blocks reads again and again: few enough for L2, beside the head's rows.
constexpr int64_t kRowsInL2Bytes = 24 << 20;

/// Which tile comes when: words advance slowest within a group of rows.
struct Schedule {
  int64_t num_row_tiles, num_word_tiles, group;  // row tiles: of a cluster
  __device__ __host__ int64_t size() const { return num_row_tiles * num_word_tiles; }
};

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

__device__ void tile_at(const Schedule& s, int64_t tile, int64_t* row_tile, int64_t* word_tile) {
  const int64_t first = tile / (s.group * s.num_word_tiles) * s.group;
  const int64_t width = min(s.group, s.num_row_tiles - first);
  const int64_t rest = tile - first * s.num_word_tiles;
  *word_tile = rest / width;
  *row_tile = first + rest % width;
}

/// e^x to 2 ulp and less; 0 below about -87.
__device__ float fast_exp(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
}

/// Where a thread's sums lie: rows `row` and `row + 8` of its warpgroup's 64, words 8 j + column, + 1.
struct Fragment {
  int row, column;
  __device__ explicit Fragment(int thread)
      : row(thread / kWarpSize % 4 * 16 + thread % kWarpSize / 4), column(thread % 4 * 2) {}
};

struct Max {
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};
struct Sum {
  __device__ float operator()(float a, float b) const { return a + b; }
};

/// Over the four lanes that share a row.
template <class Op>
__device__ float over_row(float x, Op op) {
  x = op(x, __shfl_xor_sync(kFullWarp, x, 1));
  return op(x, __shfl_xor_sync(kFullWarp, x, 2));
}

/// Words of this tile behind the vocabulary's end count as -inf.
__device__ void mask_words(float (&acc)[128], int column, int64_t num_words) {
#pragma unroll
  for (int i = 0; i < 128; ++i) {
    if (i / 4 * 8 + column + i % 2 >= num_words) acc[i] = -INFINITY;
  }
}

template <bool kMasked>
__device__ void write_states(const HeadScore& s, const float (&acc)[128], Fragment at, int64_t first_row,
                             int64_t word_tile) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = -INFINITY;
#pragma unroll
    for (int j = 0; j < 32; ++j) top = fmaxf(top, fmaxf(acc[4 * j + 2 * half], acc[4 * j + 2 * half + 1]));
    top = over_row(top, Max{});
    float sum[2] = {0, 0}, wsum[2] = {0, 0};  // two chains each
#pragma unroll
    for (int j = 0; j < 32; ++j) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const float x = acc[4 * j + 2 * half + k];
        const bool out = kMasked && x == -INFINITY;
        const float d = out ? 0.0f : x - top, e = out ? 0.0f : fast_exp(d);
        sum[k] += e;
        wsum[k] = fmaf(d, e, wsum[k]);
      }
    }
    const float all = over_row(sum[0] + sum[1], Sum{}), weighted = over_row(wsum[0] + wsum[1], Sum{});
    const int64_t row = first_row + at.row + 8 * half;
    if (at.column == 0 && row < s.num_rows) {
      const int64_t place = word_tile * s.num_rows + row;
      s.states.max[place] = top;
      s.states.sum[place] = all;
      s.states.wsum[place] = weighted;
    }
  }
}

__device__ void write_target_logits(const HeadScore& s, const float (&acc)[128], Fragment at, int64_t first_row,
                                    int64_t first_word) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = first_row + at.row + 8 * half;
    const int64_t target = row < s.num_rows ? s.targets[row] : kIgnoredTarget;
    const int64_t word = target - first_word;
    if (target == kIgnoredTarget || word < 0 || word >= kWords || word % 8 / 2 * 2 != at.column) continue;
    float found = 0;  // registers have no index
#pragma unroll
    for (int j = 0; j < 32; ++j) {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        if (word == 8 * j + at.column + k) found = acc[4 * j + 2 * half + k];
      }
    }
    s.target_logit[row] = found;
  }
}

/// Which stage is next, and how often the ring was gone round.
struct Ring {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1)
    head_score_kernel(const __grid_constant__ CUtensorMap hidden, const __grid_constant__ CUtensorMap head, HeadScore s,
                      Schedule schedule) {
  extern __shared__ unsigned char raw[];
  unsigned char* const stages = raw + (1024 - shared_address(raw) % 1024) % 1024;
  uint64_t* const full = reinterpret_cast<uint64_t*>(stages + kStages * kStageBytes);
  uint64_t* const empty = full + kStages;
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      init_barrier(full + i, 1);
      init_barrier(empty + i, kConsumers * kCluster);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  cluster_barrier();

  const int64_t first_tile = blockIdx.x / kCluster, step = gridDim.x / kCluster;
  const int num_stages_of_tile = static_cast<int>((s.dim + kDepth - 1) / kDepth);
  const int warpgroup = static_cast<int>(threadIdx.x) / kWarpgroup;
  Ring ring;
  if (warpgroup == 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      for (int64_t tile = first_tile; tile < schedule.size(); tile += step) {
        int64_t row_tile, word_tile;
        tile_at(schedule, tile, &row_tile, &word_tile);
        const int row = static_cast<int>((row_tile * kCluster + rank) * kRows);
        const int word = static_cast<int>(word_tile * kWords + rank * (kWords / kCluster));
        for (int k = 0; k < num_stages_of_tile; ++k, ring.advance()) {
          wait_barrier(empty + ring.stage, ring.parity ^ 1);
          expect_bytes(full + ring.stage, kStageBytes);
          unsigned char* const stage = stages + ring.stage * kStageBytes;
          load_tile(stage, &hidden, k * kDepth, row, full + ring.stage);
          load_tile_for_all<kCluster>(stage + kHiddenBytes + rank * (kHeadBytes / kCluster), &head, k * kDepth, word,
                                      full + ring.stage);
        }
      }
    }
    __syncwarp();  // the cluster's barrier wants whole warps
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    const int consumer = warpgroup - 1, thread = static_cast<int>(threadIdx.x) % kWarpgroup;
    // One thread for each block of the cluster says that a stage is free.
    const bool signals = thread % kWarpSize == 0 && thread / kWarpSize < kCluster;
    const uint32_t signalled = static_cast<uint32_t>(thread / kWarpSize);
    const Fragment at(thread);
    float acc[128];
    for (int64_t tile = first_tile; tile < schedule.size(); tile += step) {
      int64_t row_tile, word_tile;
      tile_at(schedule, tile, &row_tile, &word_tile);
      int last_stage = 0;
      fence_registers(acc);
      for (int k = 0; k < num_stages_of_tile; ++k, ring.advance()) {
        wait_barrier(full + ring.stage, ring.parity);
        const unsigned char* const stage = stages + ring.stage * kStageBytes;
        const uint64_t a = matrix_descriptor(stage + consumer * (kHiddenBytes / kConsumers));
        const uint64_t b = matrix_descriptor(stage + kHiddenBytes);
        wgmma_fence();
#pragma unroll
        for (int part = 0; part < kDepth / 16; ++part) {
          wgmma(acc, a + part * 2, b + part * 2, k > 0 || part > 0);  // 16 elements are two units of 16 bytes
        }
        wgmma_commit();
        wgmma_wait<1>();  // the stage before this one has been read
        arrive_at(empty + last_stage, signalled, k > 0 && signals);
        last_stage = ring.stage;
      }
      wgmma_wait<0>();
      fence_registers(acc);
      arrive_at(empty + last_stage, signalled, signals);

      const int64_t first_row = (row_tile * kCluster + rank) * kRows + consumer * (kRows / kConsumers);
      const int64_t first_word = word_tile * kWords;
      write_target_logits(s, acc, at, first_row, first_word);
      if (first_word + kWords > s.num_words) {
        mask_words(acc, at.column, s.num_words - first_word);
        write_states<true>(s, acc, at, first_row, word_tile);
      } else {
        write_states<false>(s, acc, at, first_row, word_tile);
      }
    }
  }
  cluster_barrier();  // no block ends while the other still signals to it
}

#else

__global__ void head_score_kernel(const __grid_constant__ CUtensorMap /*hidden*/,
                                  const __grid_constant__ CUtensorMap /*head*/, HeadScore /*s*/,
                                  Schedule /*schedule*/) {}

#endif

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found at run time: nothing links with the driver.
EncodeTiled encode_tiled() {
  static const EncodeTiled found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result{};
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result);
    return error == cudaSuccess && result == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTiled>(function)
                                                                         : nullptr;
  }();
  return found;
}

/// Boxes of `box_rows` rows by kDepth elements of a (rows, dim) matrix; what lies outside reads as 0.
bool make_map(CUtensorMap* map, const __nv_bfloat16* matrix, int64_t rows, int64_t dim, uint32_t box_rows) {
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(rows)};
  const cuuint64_t row_bytes[1] = {static_cast<cuuint64_t>(dim) * sizeof(__nv_bfloat16)};
  const cuuint32_t box[2] = {kDepth, box_rows}, steps[2] = {1, 1};
  return encode_tiled()(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<__nv_bfloat16*>(matrix), sizes, row_bytes,
                        box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                        CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace

bool head_score_runs(const HeadScore& s) {
#if defined(QTUNE_SM90A)
  int device = 0, major = 0, minor = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return false;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    return false;
  }
  const auto at_border = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return major == 9 && minor == 0 && s.dim > 0 && s.dim % 8 == 0 && at_border(s.hidden) && at_border(s.head) &&
         encode_tiled() != nullptr;
#else
  (void)s;  // this build has no machine code of it
  return false;
#endif
}

cudaError_t launch_head_score(const HeadScore& s, cudaStream_t stream) {
  if (s.num_rows == 0 || s.num_words == 0) return cudaSuccess;
  CUtensorMap hidden, head;
  if (encode_tiled() == nullptr) return cudaErrorNotSupported;
  if (!make_map(&hidden, s.hidden, s.num_rows, s.dim, kRows) ||
      !make_map(&head, s.head, s.num_words, s.dim, kWords / kCluster)) {
    return cudaErrorInvalidValue;
  }
  int device = 0, num_sms = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&num_sms, cudaDevAttrMultiProcessorCount, device);
  if (error != cudaSuccess) return error;
  const int64_t cluster_row_bytes = int64_t{kRows} * kCluster * s.dim * 2;
  const Schedule schedule{.num_row_tiles = ceil_div(s.num_rows, int64_t{kRows} * kCluster),
                          .num_word_tiles = ceil_div(s.num_words, kWords),
                          .group = std::max<int64_t>(1, kRowsInL2Bytes / cluster_row_bytes)};
  const int64_t clusters = std::min<int64_t>(schedule.size(), num_sms / kCluster);
  return launch<head_score_kernel>({static_cast<unsigned>(clusters * kCluster), kThreads, kSharedBytes, stream}, hidden,
                                   head, s, schedule);
}

}  // namespace qtune
