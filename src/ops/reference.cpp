#include "qtune/ops/reference.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <numbers>

namespace qtune {
namespace {

at::Tensor wide(const at::Tensor& t) { return t.scalar_type() == at::kDouble ? t : t.to(at::kFloat); }

at::Tensor leaf(const at::Tensor& t) { return t.detach().set_requires_grad(true); }

}  // namespace

at::Tensor rms_norm_formula(const at::Tensor& x_ND, const at::Tensor& weight_D, double epsilon) {
  const at::Tensor x = wide(x_ND);
  return x * (x.square().mean(-1, /*keepdim=*/true) + epsilon).rsqrt() * weight_D;
}

at::Tensor rope_formula(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table,
                        int64_t num_heads, int64_t num_kv_heads) {
  const int64_t n = qkv_NX.size(0), e = table.size(1);
  const at::Tensor heads = wide(qkv_NX).view({n, num_heads + 2 * num_kv_heads, e});
  const at::Tensor angles = table.index_select(0, positions_N).unsqueeze(1);
  const at::Tensor cos = angles.narrow(2, 0, e / 2), sin = angles.narrow(2, e / 2, e / 2);
  const at::Tensor rotated = heads.narrow(1, 0, num_heads + num_kv_heads);
  const at::Tensor a = rotated.narrow(2, 0, e / 2), b = rotated.narrow(2, e / 2, e / 2);
  const at::Tensor turned = at::cat({a * cos - b * sin, b * cos + a * sin}, 2);
  return at::cat({turned, heads.narrow(1, num_heads + num_kv_heads, num_kv_heads)}, 1).view(qkv_NX.sizes());
}

at::Tensor swiglu_formula(const at::Tensor& gate_up_N2F) {
  const std::vector<at::Tensor> halves = wide(gate_up_N2F).chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

AttentionResult attention_formula(const at::Tensor& qkv_NX, const std::vector<int32_t>& cu_seqlens,
                                  const AttentionShape& shape) {
  const int64_t h = shape.num_heads, k = shape.num_kv_heads, e = shape.head_dim;
  const at::Tensor heads = wide(qkv_NX).view({qkv_NX.size(0), h + 2 * k, e}).transpose(0, 1);
  // The empty first piece is for a batch without samples.
  std::vector<at::Tensor> outs{heads.narrow(0, 0, h).narrow(1, 0, 0)}, logsumexps{outs[0].select(2, 0)};
  for (size_t b = 1; b < cu_seqlens.size(); ++b) {
    const int64_t start = cu_seqlens[b - 1], t = cu_seqlens[b] - start;
    const at::Tensor sample = heads.narrow(1, start, t);
    const at::Tensor q = sample.narrow(0, 0, h);
    const at::Tensor keys = sample.narrow(0, h, k).repeat_interleave(h / k, 0);
    const at::Tensor values = sample.narrow(0, h + k, k).repeat_interleave(h / k, 0);
    const at::Tensor all = at::ones({t, t}, qkv_NX.options().dtype(at::kBool));
    at::Tensor hidden = all.triu(1);
    if (shape.window > 0) hidden = hidden | all.tril(-shape.window);
    const at::Tensor scores =
        (at::matmul(q, keys.transpose(1, 2)) / std::sqrt(static_cast<double>(e))).masked_fill(hidden, -INFINITY);
    outs.push_back(at::matmul(scores.softmax(-1), values));
    logsumexps.push_back(scores.logsumexp(-1));
  }
  return {at::cat(outs, 1).transpose(0, 1).reshape({qkv_NX.size(0), shape.out_width()}), at::cat(logsumexps, 1)};
}

RowScores token_score_formula(const at::Tensor& logits_NV, const at::Tensor& targets_N) {
  const at::Tensor logits = wide(logits_NV), logp = logits.log_softmax(-1);
  const at::Tensor nll = -logp.gather(1, targets_N.to(at::kLong).unsqueeze(1)).squeeze(1);
  const at::Tensor terms = logp.exp() * logp.masked_fill(logits == -INFINITY, 0.0);  // 0 * -inf would be NaN
  return {nll, -terms.sum(-1), logits.logsumexp(-1)};
}

void add_rms_norm_reference(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                            const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND,
                            const at::Tensor& rstd_N) {
  if (delta_ND.defined()) x_out_ND.copy_(x_ND + delta_ND);
  y_ND.copy_(rms_norm_formula(x_out_ND, weight_D, epsilon));
  rstd_N.copy_((x_out_ND.square().mean(-1) + epsilon).rsqrt());
}

void rms_norm_again_reference(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                              const at::Tensor& y_ND) {
  y_ND.copy_(x_ND * rstd_N.unsqueeze(1) * weight_D);
}

void rms_norm_backward_reference(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                                 const at::Tensor& weight_D, const at::Tensor& dx_ND, const at::Tensor& dweight_D) {
  const c10::AutoGradMode with_grad(true);
  const at::Tensor x = leaf(x_ND), weight = leaf(weight_D);
  // The epsilon, which is no argument, follows from rstd = 1 / sqrt(mean(x^2) + epsilon).
  const at::Tensor epsilon = rstd_N.square().reciprocal() - x_ND.square().mean(-1);
  const at::Tensor y = x * (x.square().mean(-1) + epsilon).rsqrt().unsqueeze(1) * weight;
  y.backward(dy_ND.to(at::kFloat));
  dx_ND.add_(x.grad());
  dweight_D.add_(weight.grad());
}

at::Tensor make_rope_table_reference(int64_t num_positions, int64_t head_dim, double theta, const RopeScaling& s) {
  // float32 steps, as in the published implementation.
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat) / static_cast<double>(head_dim);
  at::Tensor frequencies = at::pow(static_cast<float>(theta), exponents).reciprocal();
  if (s.type == RopeScalingType::kLinear) frequencies = frequencies / s.factor;
  if (s.type == RopeScalingType::kLlama3) {
    const at::Tensor turns = static_cast<double>(s.original_positions) * frequencies / (2 * std::numbers::pi);
    const at::Tensor kept = ((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)).clamp(0, 1);
    frequencies = (1 - kept) * frequencies / s.factor + kept * frequencies;
  }
  const at::Tensor angles = at::outer(at::arange(num_positions, at::kFloat), frequencies);
  return at::cat({angles.cos(), angles.sin()}, 1);
}

void apply_rope_reference(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table,
                          int64_t num_heads, int64_t num_kv_heads, RopeDirection direction) {
  const c10::AutoGradMode with_grad(true);
  const at::Tensor qkv = leaf(qkv_NX.to(at::kFloat));
  const at::Tensor rotated = rope_formula(qkv, positions_N, table, num_heads, num_kv_heads);
  if (direction == RopeDirection::kForward) {
    qkv_NX.copy_(rotated.detach());
    return;
  }
  rotated.backward(qkv.detach().clone());  // the map is linear: where it is taken does not matter
  qkv_NX.copy_(qkv.grad());
}

at::Tensor head_rms_norm_formula(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads,
                                 int64_t num_kv_heads, double epsilon) {
  const int64_t n = qkv_NX.size(0), e = weights.query_E.size(0);
  const at::Tensor heads = wide(qkv_NX).view({n, num_heads + 2 * num_kv_heads, e});
  return at::cat({rms_norm_formula(heads.narrow(1, 0, num_heads), weights.query_E, epsilon),
                  rms_norm_formula(heads.narrow(1, num_heads, num_kv_heads), weights.key_E, epsilon),
                  heads.narrow(1, num_heads + num_kv_heads, num_kv_heads)},
                 1)
      .view(qkv_NX.sizes());
}

void swiglu_reference(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF) {
  h_NF.copy_(swiglu_formula(gate_up_N2F));
}

void swiglu_backward_reference(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                               const at::Tensor& h_NF) {
  const c10::AutoGradMode with_grad(true);
  const at::Tensor gate_up = leaf(gate_up_N2F.to(at::kFloat)), h = swiglu_formula(gate_up);
  h.backward(dh_NF.to(at::kFloat));
  h_NF.copy_(h.detach());
  dgate_up_N2F.copy_(gate_up.grad());
}

void attention_reference(const at::Tensor& qkv_NX, const std::vector<int32_t>& cu_seqlens, const AttentionShape& shape,
                         const at::Tensor& out, const at::Tensor& logsumexp_HN) {
  const AttentionResult result = attention_formula(qkv_NX, cu_seqlens, shape);
  out.copy_(result.out);
  logsumexp_HN.copy_(result.logsumexp_HN);
}

void attention_backward_reference(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& /*out*/,
                                  const at::Tensor& /*logsumexp_HN*/, const std::vector<int32_t>& cu_seqlens,
                                  const AttentionShape& shape, const at::Tensor& dqkv_NX) {
  const c10::AutoGradMode with_grad(true);
  const at::Tensor qkv = leaf(qkv_NX.to(at::kFloat));
  attention_formula(qkv, cu_seqlens, shape).out.backward(dout.to(at::kFloat));
  dqkv_NX.copy_(qkv.grad());
}

RowScores linear_cross_entropy_reference(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                         const at::Tensor& targets_N) {
  return token_score_formula(at::linear(hidden_ND, head_VD), targets_N);
}

RowScores linear_cross_entropy_backward_reference(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                                  const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                                  const at::Tensor& dhead_VD, const at::Tensor& weights_N) {
  const c10::AutoGradMode with_grad(true);
  const at::Tensor hidden = leaf(hidden_ND), head = leaf(head_VD);
  const RowScores scores = token_score_formula(at::linear(hidden, head), targets_N);
  (weights_N.defined() ? scores.nll_N * weights_N : scores.nll_N).sum().backward();
  dhidden_ND.copy_(hidden.grad());
  dhead_VD.add_(head.grad());
  return {scores.nll_N.detach(), scores.entropy_N.detach(), scores.logsumexp_N.detach()};
}

void adamw_reference(const std::vector<AdamWTensor>& tensors, const AdamWStep& s) {
  const double correction1 = 1 - std::pow(s.beta1, static_cast<double>(s.step));
  const double correction2 = 1 - std::pow(s.beta2, static_cast<double>(s.step));
  for (const AdamWTensor& t : tensors) {
    const at::Tensor gradient = t.gradient * s.gradient_scale;
    t.value.mul_(1 - s.learning_rate * t.weight_decay);
    t.exp_avg.lerp_(gradient, 1 - s.beta1);
    t.exp_avg_sq.mul_(s.beta2).addcmul_(gradient, gradient, 1 - s.beta2);
    const at::Tensor denominator = t.exp_avg_sq.sqrt() / std::sqrt(correction2) + s.epsilon;
    t.value.addcdiv_(t.exp_avg, denominator, -s.learning_rate / correction1);
    if (t.compute.defined()) t.compute.copy_(t.value);
  }
}

double global_norm_reference(const std::vector<at::Tensor>& tensors) {
  double total = 0;
  for (const at::Tensor& t : tensors) total += t.to(at::kDouble).square().sum().item<double>();
  return std::sqrt(total);
}

void embed_reference(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND) {
  x_ND.copy_(table_VD.index_select(0, ids_N));
}

void embed_backward_reference(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD) {
  dtable_VD.index_add_(0, ids_N, dx_ND);
}

void gather_rows_reference(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD) {
  out_MD.copy_(x_ND.index_select(0, rows_M));
}

void scatter_add_rows_reference(const at::Tensor& addend_MD, const at::Tensor& rows_M, const at::Tensor& x_ND) {
  x_ND.index_add_(0, rows_M, addend_MD);
}

}  // namespace qtune
