// Matrix products on the device: products_cublaslt.cpp on a GPU, tests/cuda/runtime_simt.cpp on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

namespace qtune {

/// out (R, C) = a (R, K) b (C, K)^T; a and b of one dtype, out of it or float32, sums in float32. Rows of `out` may lie
/// further apart than C.
void product_with_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out);

/// sum (R, C) float32 += a (K, R)^T b (K, C); a and b of one dtype. Their rows, and those of `sum`, may lie further
/// apart than they are long.
void add_transposed_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& sum);

/// out (R, C) bfloat16 = diag(a_scales) a (R, K) b (C, K)^T diag(b_scales), a and b Float8_e4m3fn, contiguous.
void product_fp8(const at::Tensor& a, const at::Tensor& a_scales, const at::Tensor& b, const at::Tensor& b_scales,
                 const at::Tensor& out);

}  // namespace qtune
