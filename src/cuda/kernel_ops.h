// The torch face of kernels/: DeviceOps on raw pointers of contiguous tensors. Shapes and dtypes were checked by the
// ops' own functions. Temporary memory comes from the tensors' allocator, which follows the stream.
//
// The same class runs in two places: in libqtune_cuda.so on a GPU, and in tests on CPU tensors with the kernels run by
// tests/simt. What differs between them stands behind runtime.h, products.h and the two attention functions.
#pragma once

#include "qtune/ops/device_ops.h"

namespace qtune {

class KernelOps : public DeviceOps {
 public:
  void add_rms_norm(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                    const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND,
                    const at::Tensor& rstd_N) const override;
  void rms_norm_again(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                      const at::Tensor& y_ND) const override;
  void rms_norm_backward(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                         const at::Tensor& weight_D, const at::Tensor& dx_ND,
                         const at::Tensor& dweight_D) const override;
  void head_rms_norm(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                     double epsilon, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ) const override;
  void head_rms_norm_backward(const at::Tensor& dqkv_NX, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ,
                              const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                              const HeadNormWeights& dweights) const override;
  void apply_rope(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table, int64_t num_heads,
                  int64_t num_kv_heads, RopeDirection direction) const override;
  void swiglu(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF) const override;
  void swiglu_backward(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                       const at::Tensor& h_NF) const override;
  void dropout(const at::Tensor& x, double probability, DropoutStream stream, const at::Tensor& y) const override;
  void convert_into(const at::Tensor& from, const at::Tensor& to) const override;
  void accumulate(const at::Tensor& addend, const at::Tensor& sum) const override;
  void add_bias(const at::Tensor& bias_O, const at::Tensor& y_NO) const override;
  void bias_gradient(const at::Tensor& dy_NO, const at::Tensor& dbias_O) const override;
  void embed(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND) const override;
  void embed_backward(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD) const override;
  void gather_rows(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD) const override;
  void scatter_add_rows(const at::Tensor& addend_MD, const at::Tensor& rows_M, const at::Tensor& x_ND) const override;

  void linear_weight_gradient(const at::Tensor& dy_NO, const at::Tensor& x_NI,
                              const at::Tensor& dweight_OI) const override;

  bool has_fp8() const override;
  void fp8_rows(const at::Tensor& x_NK, const at::Tensor& values_NK, const at::Tensor& scales_N) const override;
  void linear_fp8(const at::Tensor& x_NI, const at::Tensor& values_OI, const at::Tensor& scales_O,
                  const at::Tensor& y_NO) const override;

  void attention(const at::Tensor& qkv_NX, const SampleBorders& borders, const AttentionShape& shape,
                 const at::Tensor& out, const at::Tensor& logsumexp_HN) const override;
  void attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                          const at::Tensor& logsumexp_HN, const SampleBorders& borders, const AttentionShape& shape,
                          const at::Tensor& dqkv_NX) const override;
  void cached_attention(const at::Tensor& qkv_NX, const std::vector<CachedRows>& sequences, const AttentionShape& shape,
                        const at::Tensor& out) const override;

  RowScores linear_cross_entropy(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                 const at::Tensor& targets_N) const override;
  RowScores linear_cross_entropy_backward(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                          const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                          const at::Tensor& dhead_VD, const at::Tensor& weights_N) const override;

  std::unique_ptr<AdamW> make_adamw(std::vector<AdamWTensor> tensors, std::vector<at::Tensor> gradients) const override;

  std::string describe() const override;
  int64_t free_memory_bytes() const override;
  std::unique_ptr<Stopwatch> make_stopwatch() const override;
  int64_t peak_memory_bytes() const override;
  void push_range(const char* name) const override;
  void pop_range() const override;
  void synchronize() const override;
};

}  // namespace qtune
