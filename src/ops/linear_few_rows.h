// y = x W^T for a few rows of x, as generation has them, in float32: the BLAS copies the weight into blocks first,
// which costs about as much as the product itself. (oneDNN's product of bfloat16 does not.)
#pragma once

#include <ATen/core/Tensor.h>

namespace qtune {

/// Above this the copy pays.
inline constexpr int64_t kFewRows = 16;

/// Shapes as linear(); float32, contiguous.
void linear_few_rows(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO);

}  // namespace qtune
