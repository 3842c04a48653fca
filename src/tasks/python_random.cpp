#include "qtune/tasks/python_random.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "qtune/base/error.h"

namespace qtune {
namespace {

constexpr size_t kShift = 397;

/// Population up to which CPython's sample() takes from a list of all instead of drawing anew what it had before.
size_t list_limit(size_t count) {
  size_t limit = 21;
  if (count > 5) {
    const double power = std::ceil(std::log(static_cast<double>(count * 3)) / std::log(4.0));
    limit += size_t{1} << (2 * static_cast<size_t>(power));
  }
  return limit;
}

}  // namespace

PythonRandom::PythonRandom(uint64_t seed) {
  const uint32_t key[] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  const size_t key_size = key[1] != 0 ? 2 : 1;
  const auto mixed = [&](size_t i) { return state_[i - 1] ^ (state_[i - 1] >> 30); };
  state_[0] = 19650218U;
  for (size_t i = 1; i < kSize; ++i) state_[i] = 1812433253U * mixed(i) + static_cast<uint32_t>(i);
  size_t i = 1, j = 0;
  const auto step = [&] {
    if (++i < kSize) return;
    state_[0] = state_[kSize - 1];
    i = 1;
  };
  for (size_t k = kSize; k > 0; --k) {
    state_[i] = (state_[i] ^ (mixed(i) * 1664525U)) + key[j] + static_cast<uint32_t>(j);
    step();
    j = (j + 1) % key_size;
  }
  for (size_t k = kSize - 1; k > 0; --k) {
    state_[i] = (state_[i] ^ (mixed(i) * 1566083941U)) - static_cast<uint32_t>(i);
    step();
  }
  state_[0] = 0x80000000U;
}

uint32_t PythonRandom::next() {
  if (at_ == kSize) {
    for (size_t i = 0; i < kSize; ++i) {
      const uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % kSize] & 0x7FFFFFFFU);
      state_[i] = state_[(i + kShift) % kSize] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908B0DFU : 0U);
    }
    at_ = 0;
  }
  uint32_t y = state_[at_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9D2C5680U;
  y ^= (y << 15) & 0xEFC60000U;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::below(uint64_t bound) {
  if (bound == 0 || bound >> 32 != 0)
    throw Error(fmt::format("random draw: expected 1 <= bound < 2^32, found {}", bound));
  const int bits = std::bit_width(bound);
  while (true) {
    const uint32_t drawn = next() >> (32 - bits);
    if (drawn < bound) return drawn;
  }
}

std::vector<size_t> PythonRandom::sample(size_t population, size_t count) {
  if (count > population) {
    throw Error(fmt::format("random draw: expected at most {} of {} things, found {}", population, population, count));
  }
  std::vector<size_t> drawn(count);
  if (population <= list_limit(count)) {
    std::vector<size_t> left(population);
    std::iota(left.begin(), left.end(), size_t{0});
    for (size_t i = 0; i < count; ++i) {
      const size_t j = below(population - i);
      drawn[i] = left[j];
      left[j] = left[population - i - 1];
    }
    return drawn;
  }
  std::unordered_set<size_t> seen;
  for (size_t& index : drawn) {
    do index = below(population);
    while (!seen.insert(index).second);
  }
  return drawn;
}

}  // namespace qtune
