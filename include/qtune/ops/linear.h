// Linear layers y = x W^T in the compute dtype, with weight gradients summed in float32.
// Legend: N rows, I inputs, O outputs. Matrix products go to LibTorch (oneDNN, MKL).
#pragma once

#include <ATen/core/Tensor.h>

namespace qtune {

/// y_NO = x_NI W^T. weight_OI (O, I); x, W and y of one dtype.
void linear(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO);

/// y_NO += x_NI W^T; x and y may be columns of a wider tensor.
void linear_accumulate(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO);

/// dx_NI = dy_NO W.
void linear_input_gradient(const at::Tensor& dy_NO, const at::Tensor& weight_OI, const at::Tensor& dx_NI);

/// dweight_OI (float32) += dy_NO^T x_NI. `scratch_OI`: (O, I) in the compute dtype, needed for bfloat16 on
/// the CPU only.
void linear_weight_gradient(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& dweight_OI,
                            const at::Tensor& scratch_OI);

/// y_NO += bias_O (float32), rounded to y's dtype.
void add_bias(const at::Tensor& bias_O, const at::Tensor& y_NO);

/// dbias_O (float32) += sum of dy_NO over its rows, in their order (so that equal runs give equal bits).
void bias_gradient(const at::Tensor& dy_NO, const at::Tensor& dbias_O);

}  // namespace qtune
