// Random numbers of a sample in a group. They come from (seed, draw, sample id) alone, so that neither the order of the
// samples nor their spread over ranks changes who is kept. Samples with one id draw apart, by their order.
#pragma once

#include <cstdint>
#include <string_view>

#include "qtune/base/hash.h"
#include "qtune/base/rng.h"

namespace qtune {

enum class Purpose : uint64_t { kSamples = 1, kTokens = 2, kInfoBatch = 3 };

inline CounterRng draws_of(uint64_t seed, uint64_t draw, Purpose purpose, std::string_view id, uint64_t repeat) {
  const uint64_t sample = repeat == 0 ? hash64(id) : mix64(hash64(id) + repeat);
  return CounterRng(seed, mix64(mix64(draw) + static_cast<uint64_t>(purpose)) ^ sample);
}

}  // namespace qtune
