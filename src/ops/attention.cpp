// Tiles of kTile query rows against all keys before them. A head's q, k, v are gathered once into float32 buffers of
// the thread, so that the tile products are plain dense matrix products. Tasks are (sample, kv head): the query heads
// that share a kv head stay on one thread, so gradients of k and v are summed in a fixed order.
#include "qtune/ops/attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cmath>

#include "attention_tile.h"
#include "checks.h"
#include "parallel_tasks.h"
#include "qtune/ops/device_ops.h"
#include "qtune/ops/reference.h"

// The BLAS inside LibTorch (MKL in the x86 wheels). Weak: a LibTorch that hides it is served by at::addmm.
extern "C" __attribute__((weak)) void sgemm_(const char* transa, const char* transb, const int* m, const int* n,
                                             const int* k, const float* alpha, const float* a, const int* lda,
                                             const float* b, const int* ldb, const float* beta, float* c,
                                             const int* ldc);

namespace qtune {

void tile_product(Layout layout_a, Layout layout_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
                  int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (sgemm_ != nullptr) {
    // Column-major BLAS sees the transposes of row-major matrices: C^T = B^T A^T.
    const char ta = layout_a == Layout::kTransposed ? 'T' : 'N', tb = layout_b == Layout::kTransposed ? 'T' : 'N';
    const int im = static_cast<int>(m), in = static_cast<int>(n), ik = static_cast<int>(k);
    const int ia = static_cast<int>(lda), ib = static_cast<int>(ldb), ic = static_cast<int>(ldc);
    sgemm_(&tb, &ta, &in, &im, &ik, &alpha, b, &ib, a, &ia, &beta, c, &ic);
    return;
  }
  const auto matrix = [](const float* data, Layout layout, int64_t rows, int64_t columns, int64_t stride) {
    float* values = const_cast<float*>(data);
    return layout == Layout::kPlain ? at::from_blob(values, {rows, columns}, {stride, 1}, at::kFloat)
                                    : at::from_blob(values, {columns, rows}, {stride, 1}, at::kFloat).t();
  };
  at::Tensor out = matrix(c, Layout::kPlain, m, n, ldc);
  at::addmm_out(out, out, matrix(a, layout_a, m, k, lda), matrix(b, layout_b, k, n, ldb), beta, alpha);
}

namespace {

struct Buffers {
  std::vector<float> q, k, v, out, scores, dscores, dq, dk, dv, dout;
};

/// Tasks (sample, kv head) with the costliest samples first, so that threads end together.
std::vector<std::pair<int64_t, int64_t>> make_tasks(const std::vector<int32_t>& cu_seqlens, int64_t num_kv_heads) {
  std::vector<int64_t> samples(cu_seqlens.size() - 1);
  for (size_t b = 0; b < samples.size(); ++b) samples[b] = static_cast<int64_t>(b);
  std::stable_sort(samples.begin(), samples.end(), [&](int64_t a, int64_t b) {
    return cu_seqlens[a + 1] - cu_seqlens[a] > cu_seqlens[b + 1] - cu_seqlens[b];
  });
  std::vector<std::pair<int64_t, int64_t>> tasks;
  for (const int64_t b : samples) {
    if (cu_seqlens[b + 1] == cu_seqlens[b]) continue;
    for (int64_t k = 0; k < num_kv_heads; ++k) tasks.emplace_back(b, k);
  }
  return tasks;
}

void check_arguments(const char* op, const at::Tensor& qkv, const std::vector<int32_t>& cu_seqlens,
                     const AttentionShape& shape) {
  check_shape(op, "qkv", qkv, {qkv.size(0), shape.qkv_width()});
  bool ascending = !cu_seqlens.empty() && cu_seqlens.front() == 0 && cu_seqlens.back() == qkv.size(0);
  for (size_t i = 1; i < cu_seqlens.size(); ++i) ascending = ascending && cu_seqlens[i] >= cu_seqlens[i - 1];
  if (!ascending) throw Error(fmt::format("{}: cu_seqlens: expected ascending offsets from 0 to {}", op, qkv.size(0)));
}

/// body(sample, kv head, buffers) for each task.
template <class Body>
void run_heads(const std::vector<std::pair<int64_t, int64_t>>& tasks, const Body& body) {
  run_tasks<Buffers>(static_cast<int64_t>(tasks.size()), [&](int64_t task, Buffers& buffers) {
    const auto& [sample, kv] = tasks[static_cast<size_t>(task)];
    body(sample, kv, buffers);
  });
}

}  // namespace

void attention(const at::Tensor& qkv_NX, const SampleBorders& borders, const AttentionShape& shape,
               const at::Tensor& out, const at::Tensor& logsumexp_HN) {
  const std::vector<int32_t>& cu_seqlens = borders.cu_seqlens;
  check_arguments("attention", qkv_NX, cu_seqlens, shape);
  const int64_t n = qkv_NX.size(0), x = shape.qkv_width(), e = shape.head_dim, w = shape.out_width();
  check_shape("attention", "out", out, {n, w});
  check_shape("attention", "logsumexp", logsumexp_HN, {shape.num_heads, n});
  if (const DeviceOps* device = device_ops(qkv_NX)) {
    if (qkv_NX.scalar_type() == at::kFloat) return attention_reference(qkv_NX, cu_seqlens, shape, out, logsumexp_HN);
    return device->attention(qkv_NX, borders, shape, out, logsumexp_HN);
  }
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  dispatch_compute_dtype("attention", qkv_NX, [&](auto element) {
    using T = decltype(element);
    const T* qkv = qkv_NX.data_ptr<T>();
    T* o = out.data_ptr<T>();
    float* lse = logsumexp_HN.data_ptr<float>();
    run_heads(make_tasks(cu_seqlens, shape.num_kv_heads), [&](int64_t sample, int64_t kv, Buffers& buffers) {
      const int64_t start = cu_seqlens[sample], length = cu_seqlens[sample + 1] - start;
      float* k = at_least(buffers.k, length * e);
      float* v = at_least(buffers.v, length * e);
      float* q = at_least(buffers.q, kTile * e);
      float* tile_out = at_least(buffers.out, kTile * e);
      float* scores = at_least(buffers.scores, kTile * length);
      const T* sample_qkv = qkv + start * x;
      gather_head(sample_qkv + (shape.num_heads + kv) * e, x, length, e, k);
      gather_head(sample_qkv + (shape.num_heads + shape.num_kv_heads + kv) * e, x, length, e, v);
      for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
        for (int64_t row = 0; row < length; row += kTile) {
          const int64_t rows = std::min(kTile, length - row);
          const KeyRange range = keys_of_tile(row, rows, shape.window);
          const int64_t keys = range.count;
          const float *tile_k = k + range.first * e, *tile_v = v + range.first * e;
          gather_head(sample_qkv + row * x + h * e, x, rows, e, q);
          tile_product(Layout::kPlain, Layout::kTransposed, rows, keys, e, scale, q, e, tile_k, e, 0.0f, scores, keys);
          for (int64_t i = 0; i < rows; ++i) {
            const VisibleKeys visible = visible_keys(row + i, range, shape.window);
            lse[h * n + start + row + i] = softmax_row(scores + i * keys, visible, keys);
          }
          tile_product(Layout::kPlain, Layout::kPlain, rows, e, keys, 1.0f, scores, keys, tile_v, e, 0.0f, tile_out, e);
          scatter_head(tile_out, w, rows, e, o + (start + row) * w + h * e);
        }
      }
    });
  });
}

void attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                        const at::Tensor& logsumexp_HN, const SampleBorders& borders, const AttentionShape& shape,
                        const at::Tensor& dqkv_NX) {
  const std::vector<int32_t>& cu_seqlens = borders.cu_seqlens;
  check_arguments("attention_backward", qkv_NX, cu_seqlens, shape);
  const int64_t n = qkv_NX.size(0), x = shape.qkv_width(), e = shape.head_dim, w = shape.out_width();
  check_shape("attention_backward", "dout", dout, {n, w});
  check_shape("attention_backward", "out", out, {n, w});
  check_shape("attention_backward", "dqkv", dqkv_NX, {n, x});
  if (const DeviceOps* device = device_ops(qkv_NX)) {
    if (qkv_NX.scalar_type() == at::kFloat) {
      return attention_backward_reference(dout, qkv_NX, out, logsumexp_HN, cu_seqlens, shape, dqkv_NX);
    }
    return device->attention_backward(dout, qkv_NX, out, logsumexp_HN, borders, shape, dqkv_NX);
  }
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  const float scale = 1.0f / std::sqrt(static_cast<float>(e));
  dispatch_compute_dtype("attention_backward", qkv_NX, [&](auto element) {
    using T = decltype(element);
    const T *qkv = qkv_NX.data_ptr<T>(), *o = out.data_ptr<T>(), *grad = dout.data_ptr<T>();
    T* dqkv = dqkv_NX.data_ptr<T>();
    const float* lse = logsumexp_HN.data_ptr<float>();
    run_heads(make_tasks(cu_seqlens, shape.num_kv_heads), [&](int64_t sample, int64_t kv, Buffers& buffers) {
      const int64_t start = cu_seqlens[sample], length = cu_seqlens[sample + 1] - start;
      float* k = at_least(buffers.k, length * e);
      float* v = at_least(buffers.v, length * e);
      float* dk = at_least(buffers.dk, length * e);
      float* dv = at_least(buffers.dv, length * e);
      float* q = at_least(buffers.q, kTile * e);
      float* dq = at_least(buffers.dq, kTile * e);
      float* tile_dout = at_least(buffers.dout, kTile * e);
      float* scores = at_least(buffers.scores, kTile * length);
      float* dscores = at_least(buffers.dscores, kTile * length);
      const T* sample_qkv = qkv + start * x;
      gather_head(sample_qkv + (shape.num_heads + kv) * e, x, length, e, k);
      gather_head(sample_qkv + (shape.num_heads + shape.num_kv_heads + kv) * e, x, length, e, v);
      std::fill(dk, dk + length * e, 0.0f);
      std::fill(dv, dv + length * e, 0.0f);
      for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
        for (int64_t row = 0; row < length; row += kTile) {
          const int64_t rows = std::min(kTile, length - row);
          const KeyRange range = keys_of_tile(row, rows, shape.window);
          const int64_t keys = range.count, first = range.first * e;
          gather_head(sample_qkv + row * x + h * e, x, rows, e, q);
          gather_head(grad + (start + row) * w + h * e, w, rows, e, tile_dout);
          tile_product(Layout::kPlain, Layout::kTransposed, rows, keys, e, scale, q, e, k + first, e, 0.0f, scores,
                       keys);
          tile_product(Layout::kPlain, Layout::kTransposed, rows, keys, e, 1.0f, tile_dout, e, v + first, e, 0.0f,
                       dscores, keys);
          for (int64_t i = 0; i < rows; ++i) {
            const int64_t token = start + row + i;
            const VisibleKeys visible = visible_keys(row + i, range, shape.window);
            const float row_lse = lse[h * n + token];
            const T* row_out = o + token * w + h * e;
            float dot = 0;  // sum over keys of p * dp, by way of the saved output
#pragma omp simd reduction(+ : dot)
            for (int64_t j = 0; j < e; ++j) dot += to_float(row_out[j]) * tile_dout[i * e + j];
            float *p = scores + i * keys, *ds = dscores + i * keys;
#pragma omp simd
            for (int64_t j = visible.begin; j < visible.end; ++j) {
              p[j] = fast_exp(p[j] - row_lse);
              ds[j] = p[j] * (ds[j] - dot) * scale;
            }
            clear_hidden(p, visible, keys);
            clear_hidden(ds, visible, keys);
          }
          tile_product(Layout::kPlain, Layout::kPlain, rows, e, keys, 1.0f, dscores, keys, k + first, e, 0.0f, dq, e);
          tile_product(Layout::kTransposed, Layout::kPlain, keys, e, rows, 1.0f, dscores, keys, q, e, 1.0f, dk + first,
                       e);
          tile_product(Layout::kTransposed, Layout::kPlain, keys, e, rows, 1.0f, scores, keys, tile_dout, e, 1.0f,
                       dv + first, e);
          scatter_head(dq, x, rows, e, dqkv + (start + row) * x + h * e);
        }
      }
      T* sample_dqkv = dqkv + start * x;
      scatter_head(dk, x, length, e, sample_dqkv + (shape.num_heads + kv) * e);
      scatter_head(dv, x, length, e, sample_dqkv + (shape.num_heads + shape.num_kv_heads + kv) * e);
    });
  });
}

}  // namespace qtune
