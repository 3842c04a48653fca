// Python's random.Random: the same draws from the same seed, so that few-shot examples are those of harnesses in
// Python.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace qtune {

/// MT19937 (Matsumoto and Nishimura 1998), seeded and read as CPython 3.11 does. Non-goal: the distributions.
class PythonRandom {
 public:
  explicit PythonRandom(uint64_t seed);

  /// Uniform in [0, bound), by rejection. Throws: Error unless 1 <= bound < 2^32.
  uint32_t below(uint64_t bound);

  /// Indices of random.sample(range(population), count), in the order drawn.
  /// Empty: count 0 draws nothing. Throws: Error for count > population.
  std::vector<size_t> sample(size_t population, size_t count);

 private:
  uint32_t next();

  static constexpr size_t kSize = 624;
  std::array<uint32_t, kSize> state_{};
  size_t at_ = kSize;
};

}  // namespace qtune
