#include "qtune/ops/elementwise.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "checks.h"
#include "qtune/base/rng.h"
#include "qtune/ops/device_ops.h"
#include "vector_math.h"

namespace qtune {
namespace {

/// Rows a thread takes at least: below this, starting threads costs more than it saves.
constexpr int64_t kRowGrain = 16;
constexpr int64_t kElementGrain = 1 << 15;

void check_inside(const char* op, const char* what, int32_t index, int64_t size) {
  if (index < 0 || index >= size) throw Error(fmt::format("{}: {} {} is outside 0..{}", op, what, index, size - 1));
}

}  // namespace

void add_rms_norm(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                  const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND, const at::Tensor& rstd_N) {
  const int64_t n = x_ND.size(0), d = x_ND.size(1);
  check_shape("add_rms_norm", "x", x_ND, {n, d});
  check_dtype("add_rms_norm", "x", x_ND, at::kFloat);
  check_shape("add_rms_norm", "x_out", x_out_ND, {n, d});
  check_dtype("add_rms_norm", "x_out", x_out_ND, at::kFloat);
  check_shape("add_rms_norm", "weight", weight_D, {d});
  check_dtype("add_rms_norm", "weight", weight_D, at::kFloat);
  check_shape("add_rms_norm", "y", y_ND, {n, d});
  check_shape("add_rms_norm", "rstd", rstd_N, {n});
  if (delta_ND.defined()) check_shape("add_rms_norm", "delta", delta_ND, {n, d});
  if (const DeviceOps* device = device_ops(y_ND)) {
    return device->add_rms_norm(x_ND, delta_ND, x_out_ND, weight_D, epsilon, y_ND, rstd_N);
  }
  dispatch_compute_dtype("add_rms_norm", y_ND, [&](auto element) {
    using T = decltype(element);
    const float* x = x_ND.data_ptr<float>();
    float* x_out = x_out_ND.data_ptr<float>();
    const T* delta = delta_ND.defined() ? delta_ND.data_ptr<T>() : nullptr;
    const float* weight = weight_D.data_ptr<float>();
    T* y = y_ND.data_ptr<T>();
    float* rstd = rstd_N.data_ptr<float>();
    at::parallel_for(0, n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row = x + i * d;
        if (delta != nullptr) {
          const T* add = delta + i * d;
          float* sum_row = x_out + i * d;
#pragma omp simd
          for (int64_t j = 0; j < d; ++j) sum_row[j] = row[j] + to_float(add[j]);
          row = sum_row;
        }
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < d; ++j) sum += row[j] * row[j];
        const float r = 1.0f / std::sqrt(sum / static_cast<float>(d) + static_cast<float>(epsilon));
        rstd[i] = r;
        T* out = y + i * d;
#pragma omp simd
        for (int64_t j = 0; j < d; ++j) out[j] = from_float<T>(row[j] * r * weight[j]);
      }
    });
  });
}

void rms_norm_again(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                    const at::Tensor& y_ND) {
  const int64_t n = x_ND.size(0), d = x_ND.size(1);
  check_shape("rms_norm_again", "y", y_ND, {n, d});
  check_shape("rms_norm_again", "rstd", rstd_N, {n});
  if (const DeviceOps* device = device_ops(y_ND)) return device->rms_norm_again(x_ND, rstd_N, weight_D, y_ND);
  dispatch_compute_dtype("rms_norm_again", y_ND, [&](auto element) {
    using T = decltype(element);
    const float *x = x_ND.data_ptr<float>(), *rstd = rstd_N.data_ptr<float>(), *weight = weight_D.data_ptr<float>();
    T* y = y_ND.data_ptr<T>();
    at::parallel_for(0, n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float r = rstd[i];
#pragma omp simd
        for (int64_t j = 0; j < d; ++j) y[i * d + j] = from_float<T>(x[i * d + j] * r * weight[j]);
      }
    });
  });
}

void rms_norm_backward(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                       const at::Tensor& weight_D, const at::Tensor& dx_ND, const at::Tensor& dweight_D) {
  const int64_t n = x_ND.size(0), d = x_ND.size(1);
  check_shape("rms_norm_backward", "dy", dy_ND, {n, d});
  check_shape("rms_norm_backward", "dx", dx_ND, {n, d});
  check_shape("rms_norm_backward", "rstd", rstd_N, {n});
  if (dweight_D.defined()) check_shape("rms_norm_backward", "dweight", dweight_D, {d});
  if (n == 0) return;
  if (const DeviceOps* device = device_ops(dy_ND)) {
    return device->rms_norm_backward(dy_ND, x_ND, rstd_N, weight_D, dx_ND, dweight_D);
  }
  // Partial sums per fixed block of rows, added in order: the result does not depend on how threads share the blocks.
  constexpr int64_t kBlock = 128;
  const int64_t num_blocks = (n + kBlock - 1) / kBlock;
  std::vector<float> partial(static_cast<size_t>(num_blocks * d), 0.0f);
  dispatch_compute_dtype("rms_norm_backward", dy_ND, [&](auto element) {
    using T = decltype(element);
    const T* dy = dy_ND.data_ptr<T>();
    const float *x = x_ND.data_ptr<float>(), *rstd = rstd_N.data_ptr<float>(), *weight = weight_D.data_ptr<float>();
    float* dx = dx_ND.data_ptr<float>();
    at::parallel_for(0, num_blocks, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first * kBlock; i < std::min(n, last * kBlock); ++i) {
        const float r = rstd[i];
        const T* g = dy + i * d;
        const float* row = x + i * d;
        float* sums = partial.data() + (i / kBlock) * d;
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t j = 0; j < d; ++j) dot += to_float(g[j]) * weight[j] * row[j];
        const float c = dot * r * r / static_cast<float>(d);
        float* out = dx + i * d;
#pragma omp simd
        for (int64_t j = 0; j < d; ++j) {
          const float gj = to_float(g[j]);
          out[j] += r * (gj * weight[j] - row[j] * c);
          sums[j] += gj * row[j] * r;
        }
      }
    });
  });
  if (!dweight_D.defined()) return;
  float* dweight = dweight_D.data_ptr<float>();
  for (int64_t b = 0; b < num_blocks; ++b) {
    for (int64_t j = 0; j < d; ++j) dweight[j] += partial[static_cast<size_t>(b * d + j)];
  }
}

void swiglu(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF) {
  const int64_t n = h_NF.size(0), f = h_NF.size(1);
  check_shape("swiglu", "gate_up", gate_up_N2F, {n, 2 * f});
  if (const DeviceOps* device = device_ops(h_NF)) return device->swiglu(gate_up_N2F, h_NF);
  dispatch_compute_dtype("swiglu", h_NF, [&](auto element) {
    using T = decltype(element);
    const T* in = gate_up_N2F.data_ptr<T>();
    T* out = h_NF.data_ptr<T>();
    at::parallel_for(0, n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T *gate = in + i * 2 * f, *up = gate + f;
#pragma omp simd
        for (int64_t j = 0; j < f; ++j) {
          const float g = to_float(gate[j]);
          out[i * f + j] = from_float<T>(g * fast_sigmoid(g) * to_float(up[j]));
        }
      }
    });
  });
}

void swiglu_backward(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                     const at::Tensor& h_NF) {
  const int64_t n = dh_NF.size(0), f = dh_NF.size(1);
  check_shape("swiglu_backward", "gate_up", gate_up_N2F, {n, 2 * f});
  check_shape("swiglu_backward", "dgate_up", dgate_up_N2F, {n, 2 * f});
  check_shape("swiglu_backward", "h", h_NF, {n, f});
  if (const DeviceOps* device = device_ops(dh_NF)) {
    return device->swiglu_backward(dh_NF, gate_up_N2F, dgate_up_N2F, h_NF);
  }
  dispatch_compute_dtype("swiglu_backward", dh_NF, [&](auto element) {
    using T = decltype(element);
    const T *dh = dh_NF.data_ptr<T>(), *in = gate_up_N2F.data_ptr<T>();
    T *out = dgate_up_N2F.data_ptr<T>(), *h = h_NF.data_ptr<T>();
    at::parallel_for(0, n, kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T *gate = in + i * 2 * f, *up = gate + f;
        T *dgate = out + i * 2 * f, *dup = dgate + f;
#pragma omp simd
        for (int64_t j = 0; j < f; ++j) {
          const float g = to_float(gate[j]), u = to_float(up[j]), d = to_float(dh[i * f + j]);
          const float s = fast_sigmoid(g), silu = g * s;
          h[i * f + j] = from_float<T>(silu * u);
          dgate[j] = from_float<T>(d * u * s * (1.0f + g * (1.0f - s)));
          dup[j] = from_float<T>(d * silu);
        }
      }
    });
  });
}

void dropout(const at::Tensor& x, double probability, DropoutStream stream, const at::Tensor& y) {
  check_shape("dropout", "y", y, x.sizes());
  check_shape("dropout", "x", x, x.sizes());
  if (const DeviceOps* device = device_ops(x)) return device->dropout(x, probability, stream, y);
  const auto limit = static_cast<uint32_t>(std::clamp(probability, 0.0, 1.0 - 0x1p-32) * 0x1p32);
  const auto factor = static_cast<float>(1.0 / (1.0 - probability));
  dispatch_compute_dtype("dropout", x, [&](auto element) {
    using T = decltype(element);
    const T* in = x.data_ptr<T>();
    T* out = y.data_ptr<T>();
    const auto apply = [&](int64_t i, uint32_t draw) {
      out[i] = draw < limit ? T(0.0f) : from_float<T>(to_float(in[i]) * factor);
    };
    // One draw of 64 bits serves two values.
    const int64_t n = x.numel();
    at::parallel_for(0, (n + 1) / 2, kElementGrain, [&](int64_t begin, int64_t end) {
      CounterRng rng(stream.seed, stream.stream, static_cast<uint64_t>(begin));
      for (int64_t pair = begin; pair < end; ++pair) {
        const uint64_t draw = rng.next();
        apply(2 * pair, static_cast<uint32_t>(draw));
        if (2 * pair + 1 < n) apply(2 * pair + 1, static_cast<uint32_t>(draw >> 32));
      }
    });
  });
}

void convert_into(const at::Tensor& from, const at::Tensor& to) {
  check_shape("convert_into", "to", to, from.sizes());
  if (from.scalar_type() == to.scalar_type()) {
    if (from.data_ptr() != to.data_ptr()) to.copy_(from);
    return;
  }
  if (const DeviceOps* device = device_ops(from)) return device->convert_into(from, to);
  dispatch_compute_dtype("convert_into", from, [&](auto source) {
    dispatch_compute_dtype("convert_into", to, [&](auto target) {
      using S = decltype(source);
      using T = decltype(target);
      const S* in = from.data_ptr<S>();
      T* out = to.data_ptr<T>();
      at::parallel_for(0, from.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) out[i] = from_float<T>(to_float(in[i]));
      });
    });
  });
}

void accumulate(const at::Tensor& addend, const at::Tensor& sum) {
  check_shape("accumulate", "addend", addend, sum.sizes());
  check_dtype("accumulate", "sum", sum, at::kFloat);
  if (const DeviceOps* device = device_ops(sum)) return device->accumulate(addend, sum);
  dispatch_compute_dtype("accumulate", addend, [&](auto element) {
    using T = decltype(element);
    const T* in = addend.data_ptr<T>();
    float* out = sum.data_ptr<float>();
    at::parallel_for(0, sum.numel(), kElementGrain, [&](int64_t begin, int64_t end) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) out[i] += to_float(in[i]);
    });
  });
}

void embed(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND) {
  const int64_t n = ids_N.size(0), v = table_VD.size(0), d = table_VD.size(1);
  check_shape("embed", "x", x_ND, {n, d});
  check_dtype("embed", "x", x_ND, at::kFloat);
  check_dtype("embed", "ids", ids_N, at::kInt);
  if (const DeviceOps* device = device_ops(x_ND)) return device->embed(table_VD, ids_N, x_ND);
  dispatch_compute_dtype("embed", table_VD, [&](auto element) {
    using T = decltype(element);
    const T* table = table_VD.data_ptr<T>();
    const int32_t* ids = ids_N.data_ptr<int32_t>();
    float* x = x_ND.data_ptr<float>();
    for (int64_t i = 0; i < n; ++i) {
      if (ids[i] < 0 || ids[i] >= v) {
        throw Error(fmt::format("embed: token id {} of row {} is outside the vocabulary of {}", ids[i], i, v));
      }
      for (int64_t j = 0; j < d; ++j) x[i * d + j] = to_float(table[ids[i] * d + j]);
    }
  });
}

void embed_backward(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD) {
  const int64_t n = ids_N.size(0), d = dtable_VD.size(1);
  check_shape("embed_backward", "dx", dx_ND, {n, d});
  if (const DeviceOps* device = device_ops(dx_ND)) return device->embed_backward(dx_ND, ids_N, dtable_VD);
  const int32_t* ids = ids_N.data_ptr<int32_t>();
  const float* dx = dx_ND.data_ptr<float>();
  float* dtable = dtable_VD.data_ptr<float>();
  for (int64_t i = 0; i < n; ++i) {
    check_inside("embed_backward", "id", ids[i], dtable_VD.size(0));
    for (int64_t j = 0; j < d; ++j) dtable[ids[i] * d + j] += dx[i * d + j];
  }
}

void gather_rows(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD) {
  const int64_t m = rows_M.size(0), d = x_ND.size(1);
  check_shape("gather_rows", "out", out_MD, {m, d});
  check_dtype("gather_rows", "rows", rows_M, at::kInt);
  if (const DeviceOps* device = device_ops(x_ND)) return device->gather_rows(x_ND, rows_M, out_MD);
  const int32_t* rows = rows_M.data_ptr<int32_t>();
  const float* x = x_ND.data_ptr<float>();
  float* out = out_MD.data_ptr<float>();
  for (int64_t i = 0; i < m; ++i) {
    check_inside("gather_rows", "row", rows[i], x_ND.size(0));
    std::copy_n(x + rows[i] * d, d, out + i * d);
  }
}

void scatter_add_rows(const at::Tensor& addend_MD, const at::Tensor& rows_M, const at::Tensor& x_ND) {
  const int64_t m = rows_M.size(0), d = x_ND.size(1);
  check_shape("scatter_add_rows", "addend", addend_MD, {m, d});
  if (const DeviceOps* device = device_ops(x_ND)) return device->scatter_add_rows(addend_MD, rows_M, x_ND);
  const int32_t* rows = rows_M.data_ptr<int32_t>();
  const float* addend = addend_MD.data_ptr<float>();
  float* x = x_ND.data_ptr<float>();
  for (int64_t i = 0; i < m; ++i) {
    check_inside("scatter_add_rows", "row", rows[i], x_ND.size(0));
    if (i > 0 && rows[i] < rows[i - 1]) {
      throw Error(fmt::format("scatter_add_rows: expected ascending rows, found {} after {}", rows[i], rows[i - 1]));
    }
    for (int64_t j = 0; j < d; ++j) x[rows[i] * d + j] += addend[i * d + j];
  }
}

}  // namespace qtune
