// The ops of a training step one by one: time and achieved bandwidth or arithmetic, beside a copy and a bare matrix
// product on the same device.
//
// Legend: N rows, D hidden size, F feed-forward size, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "qtune/bench/measure.h"

namespace qtune {

struct KernelBenchOptions {
  at::Device device = at::kCPU;
  at::ScalarType compute_dtype = at::kBFloat16;
  int64_t num_rows = 8192, hidden_size = 2048, intermediate_size = 8192, num_heads = 32, num_kv_heads = 32;
  std::vector<int64_t> vocab_sizes = {32'000, 49'152, 128'256, 151'936};
  double seconds_each = 0.5;
};

struct KernelResult {
  std::string name;  // "swiglu_backward", "head score V 49152"
  Timing timing;
  int64_t num_bytes = 0;  // that must be read and written at least; 0: bounded by arithmetic
  int64_t num_flops = 0;  // of matrix products; 0: bounded by memory
  /// Achieved rate over that of the yardstick: the copy's bytes a second, or the product of the same shape.
  double share = 0;
};

/// The copy comes first, then what memory bounds, then for each vocabulary the bare product (hidden states times the
/// head, in pieces, so that no (N, V) exists), the head's score form and its training form.
/// Sizes that the memory does not hold throw LibTorch's error.
std::vector<KernelResult> bench_kernels(const KernelBenchOptions& options);

}  // namespace qtune
