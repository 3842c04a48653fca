// Plain twins of the fused ops: a few ATen calls each, with LibTorch's autograd for the backward passes. Tests compare
// the fused ops with them, and `ops.reference: true` trains with them (model/reference.h), to find the op that a bad
// run comes from. Not meant to be fast, nor to save memory.
//
// Legend: as in the headers of the fused ops.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "qtune/ops/adamw.h"
#include "qtune/ops/attention.h"
#include "qtune/ops/elementwise.h"
#include "qtune/ops/head_norm.h"
#include "qtune/ops/linear_cross_entropy.h"
#include "qtune/ops/rope.h"

namespace qtune {

// Formulas: out of place, differentiable by autograd. Inputs of any floating dtype; arithmetic and result are float32,
// or float64 when the first argument is (the truth that tests measure errors against).

/// x / sqrt(mean(x^2) + epsilon) * weight.
at::Tensor rms_norm_formula(const at::Tensor& x_ND, const at::Tensor& weight_D, double epsilon);

/// All of qkv, with the q and k heads rotated.
at::Tensor rope_formula(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table,
                        int64_t num_heads, int64_t num_kv_heads);

/// All of qkv, with the q and k heads normalised.
at::Tensor head_rms_norm_formula(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads,
                                 int64_t num_kv_heads, double epsilon);

/// silu(gate) * up.
at::Tensor swiglu_formula(const at::Tensor& gate_up_N2F);

struct AttentionResult {
  at::Tensor out, logsumexp_HN;
};

/// Causal attention, a sample at a time, with all (H, T, T) scores of the sample at once.
AttentionResult attention_formula(const at::Tensor& qkv_NX, const std::vector<int32_t>& cu_seqlens,
                                  const AttentionShape& shape);

/// Scores of whole rows of logits. A word of logit -inf has no part in the entropy.
RowScores token_score_formula(const at::Tensor& logits_NV, const at::Tensor& targets_N);

// Twins: arguments and results of the op without `_reference`, rounded to the compute dtype in the same places.
// Wrong shapes, ids and rows are refused by ATen (c10::Error).

void add_rms_norm_reference(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                            const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND,
                            const at::Tensor& rstd_N);
void rms_norm_again_reference(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                              const at::Tensor& y_ND);
void rms_norm_backward_reference(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                                 const at::Tensor& weight_D, const at::Tensor& dx_ND, const at::Tensor& dweight_D);

at::Tensor make_rope_table_reference(int64_t num_positions, int64_t head_dim, double theta,
                                     const RopeScaling& scaling = {});
void apply_rope_reference(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table,
                          int64_t num_heads, int64_t num_kv_heads, RopeDirection direction);

void swiglu_reference(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF);
void swiglu_backward_reference(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                               const at::Tensor& h_NF);

void attention_reference(const at::Tensor& qkv_NX, const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                         const at::Tensor& out, const at::Tensor& logsumexp_HN);
void attention_backward_reference(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                                  const at::Tensor& logsumexp_HN, const std::vector<int32_t>& cu_seqlens,
                                  const AttentionShape& shape, const at::Tensor& dqkv_NX);

RowScores linear_cross_entropy_reference(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                         const at::Tensor& targets_N);
RowScores linear_cross_entropy_backward_reference(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                                  const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                                  const at::Tensor& dhead_VD, const at::Tensor& weights_N = {});

void adamw_reference(const std::vector<AdamWTensor>& tensors, const AdamWStep& step);
double global_norm_reference(const std::vector<at::Tensor>& tensors);

void embed_reference(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND);
void embed_backward_reference(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD);
void gather_rows_reference(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD);
void scatter_add_rows_reference(const at::Tensor& addend_MD, const at::Tensor& rows_M, const at::Tensor& x_ND);

}  // namespace qtune
