// CUDA's device functions, as far as kernels/ uses them: barriers, warp collectives, atomics, arithmetic.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simt/block.h"
#include "simt/shared_memory.h"

// Each takes the line it is called from, to name it when something is wrong.
#define QTUNE_SIMT_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

namespace qtune::simt {

template <class T>
uint64_t to_bits(T value) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T>
T from_bits(uint64_t bits) {
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, sizeof(T));
  return value;
}

/// The value of lane `source`, or the own one where `source` lies outside the group of `width` lanes.
template <class T>
T shuffle(const char* intrinsic, unsigned mask, T value, int source, bool in_group, int width, Location at) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
    fail(std::string(intrinsic) + ": width " + std::to_string(width) + " is not a power of two up to 32", at);
  }
  if (!in_group) source = static_cast<int>(current_lane());
  if ((mask >> source & 1) == 0 && (mask >> current_lane() & 1) != 0) {
    fail("warp mask: " + std::string(intrinsic) + " reads lane " + std::to_string(source) +
             ", which the mask does not name",
         at);
  }
  return from_bits<T>(shuffle_in_warp(intrinsic, mask, to_bits(value), static_cast<unsigned>(source), at));
}

/// Bit of each lane whose value fits `test`.
template <class Test>
unsigned ballot(const char* intrinsic, unsigned mask, uint64_t value, Location at, Test test) {
  const WarpValues& values = gather_in_warp(intrinsic, mask, value, at);
  unsigned bits = 0;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1) != 0 && test(values[lane])) bits |= 1u << lane;
  }
  return bits;
}

template <class T, class Op>
T reduce(const char* intrinsic, unsigned mask, T value, Location at, Op op) {
  const WarpValues& values = gather_in_warp(intrinsic, mask, to_bits(value), at);
  bool first = true;
  T result{};
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    result = first ? from_bits<T>(values[lane]) : op(result, from_bits<T>(values[lane]));
    first = false;
  }
  return result;
}

template <class T>
inline constexpr bool kHasAtomics =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> ||
    std::is_same_v<T, float> || std::is_same_v<T, double>;

// No thread stops in the middle of one, so a plain change is atomic. The element of a global pointer is used as it is.
template <class T>
T* element(T* p, Location) {
  return p;
}
template <class T>
T* element(SharedPtr<T> p, Location at) {
  return p.atomic_access(at);
}

/// Inlined, so that its accesses are watched where the kernel's are.
template <class T, class Change>
__attribute__((always_inline)) inline T change(T* element, Change change) {
  static_assert(kHasAtomics<T>, "CUDA has no such atomic");
  start_atomic();
  const T old = *element;
  *element = change(old);
  end_atomic();
  return old;
}

}  // namespace qtune::simt

inline void __syncthreads(QTUNE_SIMT_HERE) { qtune::simt::wait_at_barrier("__syncthreads", false, {file, line}); }
inline int __syncthreads_count(int predicate, QTUNE_SIMT_HERE) {
  return qtune::simt::wait_at_barrier("__syncthreads_count", predicate != 0, {file, line});
}
inline int __syncthreads_or(int predicate, QTUNE_SIMT_HERE) {
  return qtune::simt::wait_at_barrier("__syncthreads_or", predicate != 0, {file, line}) > 0;
}
inline int __syncthreads_and(int predicate, QTUNE_SIMT_HERE) {
  return qtune::simt::wait_at_barrier("__syncthreads_and", predicate == 0, {file, line}) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, QTUNE_SIMT_HERE) { qtune::simt::sync_warp(mask, {file, line}); }

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, QTUNE_SIMT_HERE) {
  const int lane = static_cast<int>(qtune::simt::current_lane());
  return qtune::simt::shuffle("__shfl_sync", mask, value, (lane & -width) + (source & (width - 1)), true, width,
                              {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, QTUNE_SIMT_HERE) {
  const int lane = static_cast<int>(qtune::simt::current_lane()), source = lane - static_cast<int>(delta);
  return qtune::simt::shuffle("__shfl_up_sync", mask, value, source, source >= (lane & -width), width, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, QTUNE_SIMT_HERE) {
  const int lane = static_cast<int>(qtune::simt::current_lane()), source = lane + static_cast<int>(delta);
  return qtune::simt::shuffle("__shfl_down_sync", mask, value, source, source < (lane & -width) + width, width,
                              {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, QTUNE_SIMT_HERE) {
  const int lane = static_cast<int>(qtune::simt::current_lane()), source = lane ^ lane_mask;
  return qtune::simt::shuffle("__shfl_xor_sync", mask, value, source, source < (lane & -width) + width, width,
                              {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, QTUNE_SIMT_HERE) {
  return qtune::simt::ballot("__ballot_sync", mask, predicate != 0, {file, line}, [](uint64_t v) { return v != 0; });
}
inline int __any_sync(unsigned mask, int predicate, QTUNE_SIMT_HERE) {
  return qtune::simt::ballot("__any_sync", mask, predicate != 0, {file, line}, [](uint64_t v) { return v != 0; }) != 0;
}
inline int __all_sync(unsigned mask, int predicate, QTUNE_SIMT_HERE) {
  return qtune::simt::ballot("__all_sync", mask, predicate != 0, {file, line}, [](uint64_t v) { return v == 0; }) == 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, QTUNE_SIMT_HERE) {
  const uint64_t bits = qtune::simt::to_bits(value);
  return qtune::simt::ballot("__match_any_sync", mask, bits, {file, line}, [=](uint64_t v) { return v == bits; });
}
/// The least that CUDA promises of it: the calling lane. A kernel that needs more of it is wrong on some GPU.
inline unsigned __activemask() { return 1u << qtune::simt::current_lane(); }

template <class T>
T __reduce_add_sync(unsigned mask, T value, QTUNE_SIMT_HERE) {
  return qtune::simt::reduce("__reduce_add_sync", mask, value, {file, line}, [](T a, T b) { return a + b; });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, QTUNE_SIMT_HERE) {
  return qtune::simt::reduce("__reduce_max_sync", mask, value, {file, line}, [](T a, T b) { return a > b ? a : b; });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, QTUNE_SIMT_HERE) {
  return qtune::simt::reduce("__reduce_min_sync", mask, value, {file, line}, [](T a, T b) { return a < b ? a : b; });
}

// P is T* or SharedPtr<T>.
template <class P, class V>
auto atomicAdd(P p, V value, QTUNE_SIMT_HERE) {
  return qtune::simt::change(qtune::simt::element(p, {file, line}),
                             [=](auto old) { return static_cast<decltype(old)>(old + value); });
}
template <class P, class V>
auto atomicMax(P p, V value, QTUNE_SIMT_HERE) {
  return qtune::simt::change(qtune::simt::element(p, {file, line}), [=](auto old) {
    return old < static_cast<decltype(old)>(value) ? static_cast<decltype(old)>(value) : old;
  });
}
template <class P, class V>
auto atomicMin(P p, V value, QTUNE_SIMT_HERE) {
  return qtune::simt::change(qtune::simt::element(p, {file, line}), [=](auto old) {
    return old > static_cast<decltype(old)>(value) ? static_cast<decltype(old)>(value) : old;
  });
}
template <class P, class V>
auto atomicExch(P p, V value, QTUNE_SIMT_HERE) {
  return qtune::simt::change(qtune::simt::element(p, {file, line}),
                             [=](auto old) { return static_cast<decltype(old)>(value); });
}
template <class P, class V>
auto atomicOr(P p, V value, QTUNE_SIMT_HERE) {
  return qtune::simt::change(qtune::simt::element(p, {file, line}),
                             [=](auto old) { return static_cast<decltype(old)>(old | value); });
}
template <class P, class V>
auto atomicCAS(P p, V compare, V value, QTUNE_SIMT_HERE) {
  return qtune::simt::change(qtune::simt::element(p, {file, line}),
                             [=](auto old) { return old == compare ? value : old; });
}

// One order of memory for all threads is all there is here.
inline void __threadfence() {}
inline void __threadfence_block() {}

[[noreturn]] inline void __trap(QTUNE_SIMT_HERE) { qtune::simt::fail("__trap", {file, line}); }

template <class T>
T __ldg(const T* p) {
  return *p;
}

// The GPU's fast forms are less exact (2 ulp and more); tests on a GPU see that, not these.
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fdiv_rn(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __float_as_int(float x) { return qtune::simt::from_bits<int>(qtune::simt::to_bits(x)); }
inline unsigned __float_as_uint(float x) { return qtune::simt::from_bits<unsigned>(qtune::simt::to_bits(x)); }
inline float __int_as_float(int x) { return qtune::simt::from_bits<float>(qtune::simt::to_bits(x)); }
inline float __uint_as_float(unsigned x) { return qtune::simt::from_bits<float>(qtune::simt::to_bits(x)); }
