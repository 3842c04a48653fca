// W neighbouring elements as one load or store (up to 16 bytes an instruction), and the two compute dtypes as floats.
// Kernels are written once for any W: the launcher takes W = 1 where addresses or row widths don't allow more.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/device.h"

namespace qtune {

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

/// Round to nearest even; NaN stays NaN.
template <class T>
__device__ T from_float(float x) {
  if constexpr (sizeof(T) == 2) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

template <class T, int W>
struct alignas(sizeof(T) * W < 16 ? sizeof(T) * W : 16) Pack {
  T v[W];
};

template <int W, class T>
__device__ Pack<T, W> load(const T* p) {
  return *reinterpret_cast<const Pack<T, W>*>(p);
}

template <int W, class T>
__device__ void store(T* p, const Pack<T, W>& pack) {
  *reinterpret_cast<Pack<T, W>*>(p) = pack;
}

/// Whether rows of `dim` elements from p on can be walked in packs of W. Null pointers can.
template <int W, class T>
bool allows_packs(const T* p, int64_t dim) {
  return dim % W == 0 && reinterpret_cast<uintptr_t>(p) % alignof(Pack<T, W>) == 0;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Whole warps for `count` work items, 1 to `max_threads`.
inline unsigned threads_for(int64_t count, int64_t max_threads) {
  return static_cast<unsigned>(std::clamp(ceil_div(count, kWarpSize) * kWarpSize, int64_t{kWarpSize}, max_threads));
}

/// More blocks than any GPU runs at once: what is left is walked by a grid stride. Far below the 65,535 that a grid may
/// have in y.
inline constexpr int64_t kMaxGrid = 8192;

inline unsigned grid_for(int64_t num_blocks) {
  return static_cast<unsigned>(std::clamp(num_blocks, int64_t{1}, kMaxGrid));
}

}  // namespace qtune
