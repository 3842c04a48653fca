// The counter-based generator of include/qtune/base/rng.h for device code: the n-th value of a stream is a pure
// function of (seed, stream, n), so that host and device draw the same.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define QTUNE_RNG_HD __host__ __device__
#else
#define QTUNE_RNG_HD
#endif

namespace qtune {

/// A well-mixed 64-bit function (finaliser of SplitMix64, Steele et al. 2014).
QTUNE_RNG_HD constexpr uint64_t counter_mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Key of a stream; streams are independent under one seed.
QTUNE_RNG_HD constexpr uint64_t counter_key(uint64_t seed, uint64_t stream) {
  return counter_mix(counter_mix(seed) ^ (stream * 0xd1342543de82ef95ULL + 1));
}

/// The stream's value number `counter`.
QTUNE_RNG_HD constexpr uint64_t counter_value(uint64_t key, uint64_t counter) {
  return counter_mix(key ^ counter_mix(counter));
}

}  // namespace qtune

#undef QTUNE_RNG_HD
