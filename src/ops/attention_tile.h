// Parts that the attentions share: products, gathering, and the softmax of a tile of query rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "vector_math.h"

namespace qtune {

inline constexpr int64_t kTile = 64;

/// kTransposed: the operand is stored as (k, m) or (n, k).
enum class Layout { kPlain, kTransposed };

/// C (m, n) = alpha * A B + beta * C, float32, row-major with given row strides. Called from one thread of a parallel
/// region, so the BLAS call itself stays on that thread.
void tile_product(Layout layout_a, Layout layout_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                  int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

template <class T>
void gather_head(const T* source, int64_t stride, int64_t rows, int64_t e, float* target) {
  for (int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (int64_t j = 0; j < e; ++j) target[i * e + j] = to_float(source[i * stride + j]);
  }
}

template <class T>
void scatter_head(const float* source, int64_t stride, int64_t rows, int64_t e, T* target) {
  for (int64_t i = 0; i < rows; ++i) {
#pragma omp simd
    for (int64_t j = 0; j < e; ++j) target[i * stride + j] = from_float<T>(source[i * e + j]);
  }
}

/// Keys that a tile of query rows works on: [first, first + count) of the sample.
struct KeyRange {
  int64_t first, count;
};

inline KeyRange keys_of_tile(int64_t row, int64_t rows, int64_t window) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, row - window + 1) : 0;
  return {.first = first, .count = row + rows - first};
}

/// Of these keys the ones that query `row` sees: [begin, end), counted from the range's first.
struct VisibleKeys {
  int64_t begin, end;
};

inline VisibleKeys visible_keys(int64_t row, const KeyRange& keys, int64_t window) {
  const int64_t begin = window > 0 ? std::max<int64_t>(0, row - window + 1) : 0;
  return {.begin = std::max<int64_t>(0, begin - keys.first), .end = row + 1 - keys.first};
}

inline void clear_hidden(float* row, const VisibleKeys& visible, int64_t width) {
  std::fill(row, row + visible.begin, 0.0f);
  std::fill(row + visible.end, row + width, 0.0f);
}

/// Softmax of a tile's row over its visible keys, in place; the rest becomes 0. Returns the logsumexp.
inline float softmax_row(float* row, const VisibleKeys& visible, int64_t width) {
  float top = row[visible.begin];
#pragma omp simd reduction(max : top)
  for (int64_t j = visible.begin; j < visible.end; ++j) top = std::max(top, row[j]);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = visible.begin; j < visible.end; ++j) {
    const float p = fast_exp(row[j] - top);
    row[j] = p;
    sum += p;
  }
  const float scale = 1.0f / sum;
#pragma omp simd
  for (int64_t j = visible.begin; j < visible.end; ++j) row[j] *= scale;
  clear_hidden(row, visible, width);
  return top + std::log(sum);
}

/// A buffer's data, grown to `size` where it is smaller.
inline float* at_least(std::vector<float>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) buffer.resize(static_cast<size_t>(size));
  return buffer.data();
}

}  // namespace qtune
