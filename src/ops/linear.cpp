#include "qtune/ops/linear.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>

#include "checks.h"
#include "qtune/ops/elementwise.h"

namespace qtune {

void linear(const at::Tensor& x_NI, const at::Tensor& weight_OI, const at::Tensor& y_NO) {
  check_shape("linear", "y", y_NO, {x_NI.size(0), weight_OI.size(0)});
  if (x_NI.size(0) == 0) return;
  at::Tensor y = y_NO;
  at::mm_out(y, x_NI, weight_OI.t());
}

void linear_input_gradient(const at::Tensor& dy_NO, const at::Tensor& weight_OI, const at::Tensor& dx_NI) {
  check_shape("linear_input_gradient", "dx", dx_NI, {dy_NO.size(0), weight_OI.size(1)});
  if (dy_NO.size(0) == 0) return;
  at::Tensor dx = dx_NI;
  at::mm_out(dx, dy_NO, weight_OI);
}

void linear_weight_gradient(const at::Tensor& dy_NO, const at::Tensor& x_NI, const at::Tensor& dweight_OI,
                            const at::Tensor& scratch_OI) {
  check_shape("linear_weight_gradient", "dweight", dweight_OI, {dy_NO.size(1), x_NI.size(1)});
  check_dtype("linear_weight_gradient", "dweight", dweight_OI, at::kFloat);
  if (dy_NO.size(0) == 0) return;
  at::Tensor dweight = dweight_OI;
  if (x_NI.scalar_type() == at::kFloat) {
    at::addmm_out(dweight, dweight, dy_NO.t(), x_NI);
    return;
  }
  at::Tensor product = scratch_OI;
  at::mm_out(product, dy_NO.t(), x_NI);
  accumulate(product, dweight);
}

}  // namespace qtune
