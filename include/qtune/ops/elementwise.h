// Fused element-wise parts of a decoder layer, forward and backward, for packed rows on the CPU or a GPU.
//
// Legend: N packed tokens, D hidden size, H query heads, K key/value heads, E head dimension, F feed-forward size.
// "compute dtype" is float32 or bfloat16. The residual stream is float32 always: sums over many layers keep their bits.
// All tensors are contiguous. Every function refuses other shapes or dtypes with qtune::Error. N = 0 does nothing.
// Ids and rows are looked at on the CPU alone: for a GPU, model/packed_tokens.h checks them before they are sent.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace qtune {

/// RMSNorm with the residual addition before it: x_out = x + delta, y = x_out / rms(x_out) * weight.
/// Shapes: x_ND and x_out_ND (N, D) float32 (may be one tensor); delta_ND (N, D) compute dtype, or undefined: then
/// x_out must be x; weight_D float32; y_ND (N, D) compute dtype; rstd_N (N) float32 gets 1 / rms.
void add_rms_norm(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                  const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND, const at::Tensor& rstd_N);

/// The y of add_rms_norm again, from its saved x and rstd.
void rms_norm_again(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                    const at::Tensor& y_ND);

/// Backward of y = rms_norm(x): dx_ND (N, D) float32 += dL/dx; dweight_D (D) float32 += dL/dweight,
/// unless undefined (a frozen weight). dy_ND (N, D) compute dtype.
void rms_norm_backward(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                       const at::Tensor& weight_D, const at::Tensor& dx_ND, const at::Tensor& dweight_D);

/// h = silu(gate) * up. Shapes: gate_up_N2F (N, 2F), gate first; h_NF (N, F).
void swiglu(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF);

/// dgate_up (N, 2F) from dh (N, F) and the saved gate_up; also writes h again (needed for the weight gradient).
/// dgate_up may be the same tensor as gate_up.
void swiglu_backward(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                     const at::Tensor& h_NF);

/// Which random numbers a dropout draws.
struct DropoutStream {
  uint64_t seed = 0, stream = 0;
};

/// y = x / (1 - probability), or 0 with that probability, by a draw that depends on the stream and the element's place
/// alone: the same call gives the backward. y may be x.
void dropout(const at::Tensor& x, double probability, DropoutStream stream, const at::Tensor& y);

/// to = from, between float32 and bfloat16 (round to nearest even).
void convert_into(const at::Tensor& from, const at::Tensor& to);

/// sum += addend; sum float32, addend float32 or bfloat16, same shape.
void accumulate(const at::Tensor& addend, const at::Tensor& sum);

/// x_ND[n] = table_VD[ids_N[n]], as float32. Throws: Error naming the row when an id is outside 0..V-1.
void embed(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND);

/// dtable_VD[ids_N[n]] += dx_ND[n], in the order of n (so that equal runs give equal bits). Throws: as embed.
void embed_backward(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD);

/// out_MD[m] = x_ND[rows_M[m]]; float32. Throws: Error naming a row outside 0..N-1.
void gather_rows(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD);

/// x_ND[rows_M[m]] += addend_MD[m]; float32, rows_M ascending, where a row may come twice.
/// Throws: Error naming a row outside 0..N-1 or below the one before it.
void scatter_add_rows(const at::Tensor& addend_MD, const at::Tensor& rows_M, const at::Tensor& x_ND);

}  // namespace qtune
