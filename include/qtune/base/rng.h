// Counter-based random numbers: the n-th value of a stream is a pure function of (seed, stream, n), so that any point
// of a run can be reached without replaying what came before, on any number of ranks.
#pragma once

#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

namespace qtune {

/// A well-mixed 64-bit function (finaliser of SplitMix64, Steele et al. 2014).
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

class CounterRng {
 public:
  /// Streams with different `stream` values are independent under one seed (epoch, rank, purpose, ...).
  constexpr CounterRng(uint64_t seed, uint64_t stream, uint64_t counter = 0)
      : key_(mix64(mix64(seed) ^ (stream * 0xd1342543de82ef95ULL + 1))), counter_(counter) {}

  constexpr uint64_t next() { return mix64(key_ ^ mix64(counter_++)); }

  /// Uniform in [0, 1), 53 bits.
  constexpr double next_unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  /// Uniform in [0, bound), without modulo bias (Lemire 2019). bound >= 1.
  uint64_t next_below(uint64_t bound) {
    while (true) {
      const unsigned __int128 product = static_cast<unsigned __int128>(next()) * bound;
      if (static_cast<uint64_t>(product) >= (0 - bound) % bound) return static_cast<uint64_t>(product >> 64);
    }
  }

  uint64_t counter() const { return counter_; }

 private:
  uint64_t key_, counter_;
};

/// Random order of 0..n-1 (Fisher-Yates). Same (seed, stream, n): same order, on every machine.
inline std::vector<int64_t> random_permutation(uint64_t seed, uint64_t stream, int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  CounterRng rng(seed, stream);
  for (int64_t i = n - 1; i > 0; --i) std::swap(order[i], order[rng.next_below(static_cast<uint64_t>(i) + 1)]);
  return order;
}

}  // namespace qtune
