// Rows of logits for the token score tests, and the float64 loop that says what is true of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernel_test_support.h"
#include "kernels/token_score.h"
#include "simt/poison.h"

namespace qtune {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr double kFloatRounding = 0x1p-24;  // half the spacing of numbers around 1

/// Rows with a gap between them and elements before the first, so that rows begin at any address.
template <class T>
struct Logits {
  int64_t num_rows, num_words, stride, offset;
  std::vector<T> buffer;

  Logits(int64_t rows, int64_t words, int64_t gap = 0, int64_t before = 0)
      : num_rows(rows), num_words(words), stride(words + gap), offset(before) {
    // The last row has no gap behind it: what is read there is out of bounds.
    buffer = simt::poisoned<T>(rows == 0 ? 0 : offset + (rows - 1) * stride + words);
  }
  T& at(int64_t row, int64_t word) { return buffer[static_cast<size_t>(offset + row * stride + word)]; }
  double value(int64_t row, int64_t word) { return widen(at(row, word)); }
  /// Words begin to end - 1 of each row, with the same gap and elements before the first.
  Logits words(int64_t begin, int64_t end) {
    Logits part(num_rows, end - begin, stride - num_words, offset);
    for (int64_t r = 0; r < num_rows; ++r) {
      for (int64_t j = begin; j < end; ++j) part.at(r, j - begin) = at(r, j);
    }
    return part;
  }
  T* data(int64_t first_word = 0) { return buffer.data() + offset + first_word; }
};

/// Between -1 and 1, without a pattern.
inline double noise(int64_t i) {
  auto x = static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u + 0x1234567;
  x = (x ^ (x >> 31)) * 0xbf58476d1ce4e5b9u;
  return static_cast<double>(x >> 11) * 0x1p-52 - 1;
}

template <class T>
void fill(Logits<T>& logits, double scale = 8, double shift = 0) {
  for (int64_t r = 0; r < logits.num_rows; ++r) {
    for (int64_t j = 0; j < logits.num_words; ++j) logits.at(r, j) = narrow<T>(shift + scale * noise(r * 1000003 + j));
  }
}

struct Truth {
  double nll = 0, entropy = 0, logsumexp = 0;
};

/// Of the logits as the kernel gets them (bfloat16 ones: rounded).
template <class T>
Truth truth_of(Logits<T>& logits, int64_t row, int32_t target) {
  if (target == kIgnoredTarget) return {};
  double top = -kInfinity, sum = 0, entropy = 0;
  for (int64_t j = 0; j < logits.num_words; ++j) top = std::max(top, logits.value(row, j));
  for (int64_t j = 0; j < logits.num_words; ++j) sum += std::exp(logits.value(row, j) - top);
  for (int64_t j = 0; j < logits.num_words; ++j) {
    const double log_p = logits.value(row, j) - top - std::log(sum);
    if (log_p > -kInfinity) entropy -= std::exp(log_p) * log_p;
  }
  return {top - logits.value(row, target) + std::log(sum), entropy, top + std::log(sum)};
}

/// The last word, an ignored row, the first word, and some between, over the rows.
inline std::vector<int32_t> spread_targets(int64_t num_rows, int64_t num_words) {
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < num_rows; ++r) {
    const int64_t choices[] = {num_words - 1, kIgnoredTarget, 0, num_words / 2, (r * 7919) % num_words};
    targets.push_back(static_cast<int32_t>(choices[r % 5]));
  }
  return targets;
}

/// 1: nothing but the target. 2: less than a load. 31, 33, 32,003: ragged. 2,048 and 2,049: both sides of the border
/// between a warp and a block for a row. 49,152: SmolLM2's.
inline constexpr int64_t kVocabularies[] = {1, 2, 31, 32, 33, 1000, 2048, 2049, 32003, 49152};

/// More than 65,535, and no multiple of the rows of a block.
inline constexpr int64_t kManyTokenRows = 65545;

}  // namespace qtune
