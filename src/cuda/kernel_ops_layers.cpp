// Norms, rotary positions, SwiGLU, embedding, rows, and what is left between them.
#include <ATen/ops/empty.h>
#include <ATen/ops/sort.h>

#include "kernel_ops.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/fp8_rows.h"
#include "kernels/head_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/rows.h"
#include "kernels/swiglu.h"
#include "products.h"
#include "runtime.h"

namespace qtune {
namespace {

template <class Pointer>
using Element = std::remove_pointer_t<Pointer>;

}  // namespace

void KernelOps::add_rms_norm(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                             const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND,
                             const at::Tensor& rstd_N) const {
  dispatch_kernel_type(y_ND, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("add_rms_norm", launch_add_rms_norm(AddRmsNorm<T>{.num_rows = x_ND.size(0),
                                                                   .dim = x_ND.size(1),
                                                                   .x = pointer<float>(x_ND),
                                                                   .delta = pointer<T>(delta_ND),
                                                                   .x_out = pointer<float>(x_out_ND),
                                                                   .weight = pointer<float>(weight_D),
                                                                   .epsilon = static_cast<float>(epsilon),
                                                                   .y = pointer<T>(y_ND),
                                                                   .rstd = pointer<float>(rstd_N)},
                                                     current_stream()));
  });
}

void KernelOps::rms_norm_again(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                               const at::Tensor& y_ND) const {
  dispatch_kernel_type(y_ND, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("rms_norm_again", launch_rms_norm_again(RmsNormAgain<T>{.num_rows = x_ND.size(0),
                                                                         .dim = x_ND.size(1),
                                                                         .x = pointer<float>(x_ND),
                                                                         .rstd = pointer<float>(rstd_N),
                                                                         .weight = pointer<float>(weight_D),
                                                                         .y = pointer<T>(y_ND)},
                                                         current_stream()));
  });
}

void KernelOps::rms_norm_backward(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                                  const at::Tensor& weight_D, const at::Tensor& dx_ND,
                                  const at::Tensor& dweight_D) const {
  const int64_t n = x_ND.size(0), d = x_ND.size(1);
  at::Tensor workspace;
  if (dweight_D.defined()) workspace = float_workspace(x_ND, rms_norm_backward_workspace(n, d));
  dispatch_kernel_type(dy_ND, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("rms_norm_backward",
                 launch_rms_norm_backward(RmsNormBackward<T>{.num_rows = n,
                                                             .dim = d,
                                                             .dy = pointer<T>(dy_ND),
                                                             .x = pointer<float>(x_ND),
                                                             .rstd = pointer<float>(rstd_N),
                                                             .weight = pointer<float>(weight_D),
                                                             .dx = pointer<float>(dx_ND),
                                                             .dweight = pointer<float>(dweight_D),
                                                             .workspace = pointer<float>(workspace)},
                                          current_stream()));
  });
}

void KernelOps::head_rms_norm(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads,
                              int64_t num_kv_heads, double epsilon, const at::Tensor& raw_NY,
                              const at::Tensor& rstd_NZ) const {
  const HeadShape shape{qkv_NX.size(0), num_heads, num_kv_heads, weights.query_E.size(0)};
  dispatch_kernel_type(qkv_NX, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("head_rms_norm", launch_head_norm(HeadNorm<T>{.shape = shape,
                                                               .qkv = pointer<T>(qkv_NX),
                                                               .query_weight = pointer<float>(weights.query_E),
                                                               .key_weight = pointer<float>(weights.key_E),
                                                               .epsilon = static_cast<float>(epsilon),
                                                               .raw = pointer<T>(raw_NY),
                                                               .rstd = pointer<float>(rstd_NZ)},
                                                   current_stream()));
  });
}

void KernelOps::head_rms_norm_backward(const at::Tensor& dqkv_NX, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ,
                                       const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                                       const HeadNormWeights& dweights) const {
  const HeadShape shape{dqkv_NX.size(0), num_heads, num_kv_heads, weights.query_E.size(0)};
  at::Tensor workspace;
  if (dweights.query_E.defined()) workspace = float_workspace(rstd_NZ, head_norm_backward_workspace(shape));
  dispatch_kernel_type(dqkv_NX, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("head_rms_norm_backward",
                 launch_head_norm_backward(HeadNormBackward<T>{.shape = shape,
                                                               .dqkv = pointer<T>(dqkv_NX),
                                                               .raw = pointer<T>(raw_NY),
                                                               .rstd = pointer<float>(rstd_NZ),
                                                               .query_weight = pointer<float>(weights.query_E),
                                                               .key_weight = pointer<float>(weights.key_E),
                                                               .dquery_weight = pointer<float>(dweights.query_E),
                                                               .dkey_weight = pointer<float>(dweights.key_E),
                                                               .workspace = pointer<float>(workspace)},
                                           current_stream()));
  });
}

void KernelOps::apply_rope(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table,
                           int64_t num_heads, int64_t num_kv_heads, RopeDirection direction) const {
  dispatch_kernel_type(qkv_NX, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("apply_rope",
                 launch_rope(Rope<T>{.num_rows = qkv_NX.size(0),
                                     .num_heads = num_heads,
                                     .num_kv_heads = num_kv_heads,
                                     .head_dim = table.size(1),
                                     .qkv = pointer<T>(qkv_NX),
                                     .positions = pointer<int32_t>(positions_N),
                                     .table = pointer<float>(table),
                                     .direction = direction == RopeDirection::kForward ? RotaryDirection::kForward
                                                                                       : RotaryDirection::kBackward},
                             current_stream()));
  });
}

void KernelOps::swiglu(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF) const {
  dispatch_kernel_type(h_NF, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("swiglu", launch_swiglu(Swiglu<T>{.num_rows = h_NF.size(0),
                                                   .dim = h_NF.size(1),
                                                   .gate_up = pointer<T>(gate_up_N2F),
                                                   .h = pointer<T>(h_NF)},
                                         current_stream()));
  });
}

void KernelOps::swiglu_backward(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                                const at::Tensor& h_NF) const {
  dispatch_kernel_type(h_NF, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("swiglu_backward", launch_swiglu_backward(SwigluBackward<T>{.num_rows = h_NF.size(0),
                                                                             .dim = h_NF.size(1),
                                                                             .dh = pointer<T>(dh_NF),
                                                                             .gate_up = pointer<T>(gate_up_N2F),
                                                                             .dgate_up = pointer<T>(dgate_up_N2F),
                                                                             .h = pointer<T>(h_NF)},
                                                           current_stream()));
  });
}

void KernelOps::dropout(const at::Tensor& x, double probability, DropoutStream stream, const at::Tensor& y) const {
  dispatch_kernel_type(x, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("dropout", launch_dropout(Dropout<T>{.size = x.numel(),
                                                      .x = pointer<T>(x),
                                                      .y = pointer<T>(y),
                                                      .probability = probability,
                                                      .seed = stream.seed,
                                                      .stream = stream.stream},
                                           current_stream()));
  });
}

void KernelOps::convert_into(const at::Tensor& from, const at::Tensor& to) const {
  const bool narrows = from.scalar_type() == at::kFloat;
  check_launch("convert_into",
               narrows
                   ? launch_convert(pointer<float>(from), pointer<__nv_bfloat16>(to), from.numel(), current_stream())
                   : launch_convert(pointer<__nv_bfloat16>(from), pointer<float>(to), from.numel(), current_stream()));
}

void KernelOps::accumulate(const at::Tensor& addend, const at::Tensor& sum) const {
  dispatch_kernel_type(addend, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("accumulate",
                 launch_accumulate<T>(pointer<T>(addend), pointer<float>(sum), sum.numel(), current_stream()));
  });
}

void KernelOps::add_bias(const at::Tensor& bias_O, const at::Tensor& y_NO) const {
  dispatch_kernel_type(y_NO, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("add_bias", launch_add_bias(AddBias<T>{.num_rows = y_NO.size(0),
                                                        .dim = y_NO.size(1),
                                                        .bias = pointer<float>(bias_O),
                                                        .y = pointer<T>(y_NO)},
                                             current_stream()));
  });
}

void KernelOps::bias_gradient(const at::Tensor& dy_NO, const at::Tensor& dbias_O) const {
  const int64_t n = dy_NO.size(0), o = dy_NO.size(1);
  const at::Tensor workspace = float_workspace(dbias_O, bias_gradient_workspace(n, o));
  dispatch_kernel_type(dy_NO, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("bias_gradient", launch_bias_gradient(BiasGradient<T>{.num_rows = n,
                                                                       .dim = o,
                                                                       .dy = pointer<T>(dy_NO),
                                                                       .dbias = pointer<float>(dbias_O),
                                                                       .workspace = pointer<float>(workspace)},
                                                       current_stream()));
  });
}

void KernelOps::embed(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND) const {
  dispatch_kernel_type(table_VD, [&](auto type) {
    using T = Element<decltype(type)>;
    check_launch("embed", launch_embed(Embed<T>{.num_tokens = ids_N.size(0),
                                                .dim = table_VD.size(1),
                                                .table = pointer<T>(table_VD),
                                                .ids = pointer<int32_t>(ids_N),
                                                .x = pointer<float>(x_ND)},
                                       current_stream()));
  });
}

void KernelOps::embed_backward(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD) const {
  const int64_t n = ids_N.size(0), d = dtable_VD.size(1);
  const auto [sorted_ids, order] = at::sort(ids_N, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  const at::Tensor places = order.to(at::kInt);
  const at::Tensor workspace = float_workspace(dx_ND, embed_backward_workspace(n, d));
  check_launch("embed_backward", launch_embed_backward({.num_tokens = n,
                                                        .dim = d,
                                                        .dx = pointer<float>(dx_ND),
                                                        .sorted_ids = pointer<int32_t>(sorted_ids),
                                                        .order = pointer<int32_t>(places),
                                                        .dtable = pointer<float>(dtable_VD),
                                                        .workspace = pointer<float>(workspace)},
                                                       current_stream()));
}

void KernelOps::gather_rows(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD) const {
  check_launch("gather_rows", launch_gather_rows(GatherRows<float>{.num_picked = rows_M.size(0),
                                                                   .dim = x_ND.size(1),
                                                                   .x = pointer<float>(x_ND),
                                                                   .rows = pointer<int32_t>(rows_M),
                                                                   .out = pointer<float>(out_MD)},
                                                 current_stream()));
}

void KernelOps::scatter_add_rows(const at::Tensor& addend_MD, const at::Tensor& rows_M, const at::Tensor& x_ND) const {
  check_launch("scatter_add_rows", launch_scatter_add_rows({.num_picked = rows_M.size(0),
                                                            .dim = x_ND.size(1),
                                                            .addend = pointer<float>(addend_MD),
                                                            .rows = pointer<int32_t>(rows_M),
                                                            .x = pointer<float>(x_ND)},
                                                           current_stream()));
}

void KernelOps::linear_weight_gradient(const at::Tensor& dy_NO, const at::Tensor& x_NI,
                                       const at::Tensor& dweight_OI) const {
  add_transposed_product(dy_NO, x_NI, dweight_OI);
}

void KernelOps::fp8_rows(const at::Tensor& x_NK, const at::Tensor& values_NK, const at::Tensor& scales_N) const {
  check_launch("fp8_rows", launch_fp8_rows({.num_rows = x_NK.size(0),
                                            .dim = x_NK.size(1),
                                            .x = pointer<__nv_bfloat16>(x_NK),
                                            .values = pointer<__nv_fp8_storage_t>(values_NK),
                                            .scales = pointer<float>(scales_N)},
                                           current_stream()));
}

void KernelOps::linear_fp8(const at::Tensor& x_NI, const at::Tensor& values_OI, const at::Tensor& scales_O,
                           const at::Tensor& y_NO) const {
  const at::Tensor values_NI = at::empty(x_NI.sizes(), values_OI.options());
  const at::Tensor scales_N = at::empty({x_NI.size(0)}, scales_O.options());
  fp8_rows(x_NI, values_NI, scales_N);
  product_fp8(values_NI, scales_N, values_OI, scales_O, y_NO);
}

}  // namespace qtune
