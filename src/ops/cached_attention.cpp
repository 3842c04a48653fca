// A single new token's query heads that share a kv head go over its keys together, straight from the cache: the work is
// reading it once. More tokens (a prompt) go in tiles, as in attention.cpp.
#include "qtune/ops/cached_attention.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "attention_tile.h"
#include "checks.h"
#include "parallel_tasks.h"
#include "qtune/ops/device_ops.h"

namespace qtune {
namespace {

struct Buffers {
  std::vector<float> q, k, v, out, scores;
};

/// One kv head of one sequence. Pointers: at the head's first element of the first row; strides in elements.
template <class T>
struct HeadTask {
  const T* q;  // `group` heads side by side in each of `num_rows` rows
  T* out;
  const T *keys, *values;
  int64_t q_stride, out_stride, cache_stride;
  int64_t num_rows, num_keys;  // num_keys: with the new rows
  int64_t group, head_dim, window;
  float scale;
};

template <class T>
void attend_one_row(const HeadTask<T>& t, Buffers& buffers) {
  const int64_t e = t.head_dim;
  const int64_t first = t.window > 0 ? std::max<int64_t>(0, t.num_keys - t.window) : 0, count = t.num_keys - first;
  float* q = at_least(buffers.q, t.group * e);
  float* scores = at_least(buffers.scores, t.group * count);
  float* out = at_least(buffers.out, t.group * e);
  gather_head(t.q, e, t.group, e, q);
  for (int64_t j = 0; j < count; ++j) {
    const T* key = t.keys + (first + j) * t.cache_stride;
    for (int64_t g = 0; g < t.group; ++g) {
      const float* query = q + g * e;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < e; ++i) sum += query[i] * to_float(key[i]);
      scores[g * count + j] = t.scale * sum;
    }
  }
  for (int64_t g = 0; g < t.group; ++g) softmax_row(scores + g * count, {.begin = 0, .end = count}, count);
  std::fill(out, out + t.group * e, 0.0f);
  for (int64_t j = 0; j < count; ++j) {
    const T* value = t.values + (first + j) * t.cache_stride;
    for (int64_t g = 0; g < t.group; ++g) {
      const float weight = scores[g * count + j];
      float* sum = out + g * e;
#pragma omp simd
      for (int64_t i = 0; i < e; ++i) sum[i] += weight * to_float(value[i]);
    }
  }
  scatter_head(out, e, t.group, e, t.out);
}

template <class T>
void attend_rows(const HeadTask<T>& t, Buffers& buffers) {
  const int64_t e = t.head_dim, past = t.num_keys - t.num_rows;
  // Keys that no row sees stay where they are.
  const int64_t base = t.window > 0 ? std::max<int64_t>(0, past - t.window + 1) : 0, held = t.num_keys - base;
  float* k = at_least(buffers.k, held * e);
  float* v = at_least(buffers.v, held * e);
  float* q = at_least(buffers.q, kTile * e);
  float* out = at_least(buffers.out, kTile * e);
  float* scores = at_least(buffers.scores, kTile * held);
  gather_head(t.keys + base * t.cache_stride, t.cache_stride, held, e, k);
  gather_head(t.values + base * t.cache_stride, t.cache_stride, held, e, v);
  for (int64_t g = 0; g < t.group; ++g) {
    for (int64_t row = 0; row < t.num_rows; row += kTile) {
      const int64_t rows = std::min(kTile, t.num_rows - row), at = past - base + row;
      const KeyRange range = keys_of_tile(at, rows, t.window);
      const int64_t keys = range.count;
      gather_head(t.q + row * t.q_stride + g * e, t.q_stride, rows, e, q);
      tile_product(Layout::kPlain, Layout::kTransposed, rows, keys, e, t.scale, q, e, k + range.first * e, e, 0.0f,
                   scores, keys);
      for (int64_t i = 0; i < rows; ++i) softmax_row(scores + i * keys, visible_keys(at + i, range, t.window), keys);
      tile_product(Layout::kPlain, Layout::kPlain, rows, e, keys, 1.0f, scores, keys, v + range.first * e, e, 0.0f, out,
                   e);
      scatter_head(out, t.out_stride, rows, e, t.out + row * t.out_stride + g * e);
    }
  }
}

void check_arguments(const at::Tensor& qkv, const std::vector<CachedRows>& sequences, const AttentionShape& shape,
                     const at::Tensor& out) {
  const int64_t n = qkv.size(0);
  check_shape("cached_attention", "qkv", qkv, {n, shape.qkv_width()});
  check_shape("cached_attention", "out", out, {n, shape.out_width()});
  check_dtype("cached_attention", "out", out, qkv.scalar_type());
  int64_t next = 0;
  for (const CachedRows& s : sequences) {
    const int64_t capacity = s.keys_CKE.size(0);
    for (const at::Tensor* cache : {&s.keys_CKE, &s.values_CKE}) {
      check_shape("cached_attention", "cache", *cache, {capacity, shape.num_kv_heads, shape.head_dim});
      check_dtype("cached_attention", "cache", *cache, qkv.scalar_type());
    }
    if (s.first_row != next || s.num_rows < 1 || s.num_cached < 0 || s.num_cached + s.num_rows > capacity) {
      throw Error(
          fmt::format("cached_attention: expected rows from {} that fit a cache of {}, found {} from {} behind {}",
                      next, capacity, s.num_rows, s.first_row, s.num_cached));
    }
    next += s.num_rows;
  }
  if (next != n) throw Error(fmt::format("cached_attention: expected {} rows, found {}", n, next));
}

}  // namespace

void cached_attention(const at::Tensor& qkv_NX, const std::vector<CachedRows>& sequences, const AttentionShape& shape,
                      const at::Tensor& out) {
  check_arguments(qkv_NX, sequences, shape, out);
  if (const DeviceOps* device = device_ops(qkv_NX)) return device->cached_attention(qkv_NX, sequences, shape, out);
  const int64_t x = shape.qkv_width(), e = shape.head_dim, w = shape.out_width();
  const int64_t num_kv = shape.num_kv_heads, group = shape.num_heads / num_kv;
  dispatch_compute_dtype("cached_attention", qkv_NX, [&](auto element) {
    using T = decltype(element);
    const T* qkv = qkv_NX.data_ptr<T>();
    T* o = out.data_ptr<T>();
    for (const CachedRows& s : sequences) {
      const T* k = qkv + s.first_row * x + shape.num_heads * e;
      T *keys = s.keys_CKE.data_ptr<T>(), *values = s.values_CKE.data_ptr<T>();
      for (int64_t i = 0; i < s.num_rows; ++i) {
        std::memcpy(keys + (s.num_cached + i) * num_kv * e, k + i * x, static_cast<size_t>(num_kv * e) * sizeof(T));
        std::memcpy(values + (s.num_cached + i) * num_kv * e, k + i * x + num_kv * e,
                    static_cast<size_t>(num_kv * e) * sizeof(T));
      }
    }
    const int64_t num_tasks = static_cast<int64_t>(sequences.size()) * num_kv;
    run_tasks<Buffers>(num_tasks, [&](int64_t task, Buffers& buffers) {
      const CachedRows& s = sequences[static_cast<size_t>(task / num_kv)];
      const int64_t kv = task % num_kv;
      const HeadTask<T> t{.q = qkv + s.first_row * x + kv * group * e,
                          .out = o + s.first_row * w + kv * group * e,
                          .keys = s.keys_CKE.data_ptr<T>() + kv * e,
                          .values = s.values_CKE.data_ptr<T>() + kv * e,
                          .q_stride = x,
                          .out_stride = w,
                          .cache_stride = num_kv * e,
                          .num_rows = s.num_rows,
                          .num_keys = s.num_cached + s.num_rows,
                          .group = group,
                          .head_dim = e,
                          .window = shape.window,
                          .scale = 1.0f / std::sqrt(static_cast<float>(e))};
      t.num_rows == 1 ? attend_one_row(t, buffers) : attend_rows(t, buffers);
    });
  });
}

}  // namespace qtune
