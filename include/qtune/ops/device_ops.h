// The fused ops of a device other than the CPU, as an object that the functions of the other headers hand over to when
// their tensors lie there. Who calls an op never asks where its tensors are.
//
// The one implementation, cuda/kernel_ops.h, is a shared library of its own, libqtune_cuda.so: only it needs LibTorch's
// CUDA libraries, and it is loaded when a GPU is asked for (ops/device.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "qtune/ops/adamw.h"
#include "qtune/ops/attention.h"
#include "qtune/ops/cached_attention.h"
#include "qtune/ops/device.h"
#include "qtune/ops/elementwise.h"
#include "qtune/ops/head_norm.h"
#include "qtune/ops/linear_cross_entropy.h"
#include "qtune/ops/rope.h"

namespace qtune {

/// Each function has the contract of the op of its name; shapes and dtypes are checked already. They enqueue and
/// return. What the CPU checks of values (ids, positions, targets in range) is the caller's to check on the host.
class DeviceOps {
 public:
  virtual ~DeviceOps() = default;

  virtual void add_rms_norm(const at::Tensor& x_ND, const at::Tensor& delta_ND, const at::Tensor& x_out_ND,
                            const at::Tensor& weight_D, double epsilon, const at::Tensor& y_ND,
                            const at::Tensor& rstd_N) const = 0;
  virtual void rms_norm_again(const at::Tensor& x_ND, const at::Tensor& rstd_N, const at::Tensor& weight_D,
                              const at::Tensor& y_ND) const = 0;
  virtual void rms_norm_backward(const at::Tensor& dy_ND, const at::Tensor& x_ND, const at::Tensor& rstd_N,
                                 const at::Tensor& weight_D, const at::Tensor& dx_ND,
                                 const at::Tensor& dweight_D) const = 0;
  virtual void head_rms_norm(const at::Tensor& qkv_NX, const HeadNormWeights& weights, int64_t num_heads,
                             int64_t num_kv_heads, double epsilon, const at::Tensor& raw_NY,
                             const at::Tensor& rstd_NZ) const = 0;
  virtual void head_rms_norm_backward(const at::Tensor& dqkv_NX, const at::Tensor& raw_NY, const at::Tensor& rstd_NZ,
                                      const HeadNormWeights& weights, int64_t num_heads, int64_t num_kv_heads,
                                      const HeadNormWeights& dweights) const = 0;
  virtual void apply_rope(const at::Tensor& qkv_NX, const at::Tensor& positions_N, const at::Tensor& table,
                          int64_t num_heads, int64_t num_kv_heads, RopeDirection direction) const = 0;
  virtual void swiglu(const at::Tensor& gate_up_N2F, const at::Tensor& h_NF) const = 0;
  virtual void swiglu_backward(const at::Tensor& dh_NF, const at::Tensor& gate_up_N2F, const at::Tensor& dgate_up_N2F,
                               const at::Tensor& h_NF) const = 0;
  virtual void dropout(const at::Tensor& x, double probability, DropoutStream stream, const at::Tensor& y) const = 0;
  virtual void convert_into(const at::Tensor& from, const at::Tensor& to) const = 0;
  virtual void accumulate(const at::Tensor& addend, const at::Tensor& sum) const = 0;
  virtual void add_bias(const at::Tensor& bias_O, const at::Tensor& y_NO) const = 0;
  virtual void bias_gradient(const at::Tensor& dy_NO, const at::Tensor& dbias_O) const = 0;
  virtual void embed(const at::Tensor& table_VD, const at::Tensor& ids_N, const at::Tensor& x_ND) const = 0;
  virtual void embed_backward(const at::Tensor& dx_ND, const at::Tensor& ids_N, const at::Tensor& dtable_VD) const = 0;
  virtual void gather_rows(const at::Tensor& x_ND, const at::Tensor& rows_M, const at::Tensor& out_MD) const = 0;
  /// rows_M ascending.
  virtual void scatter_add_rows(const at::Tensor& addend_MD, const at::Tensor& rows_M,
                                const at::Tensor& x_ND) const = 0;

  virtual void linear_weight_gradient(const at::Tensor& dy_NO, const at::Tensor& x_NI,
                                      const at::Tensor& dweight_OI) const = 0;

  /// Whether fp8_rows and linear_fp8 run here.
  virtual bool has_fp8() const = 0;
  virtual void fp8_rows(const at::Tensor& x_NK, const at::Tensor& values_NK, const at::Tensor& scales_N) const = 0;
  virtual void linear_fp8(const at::Tensor& x_NI, const at::Tensor& values_OI, const at::Tensor& scales_O,
                          const at::Tensor& y_NO) const = 0;

  // bfloat16 only: float32 has no fused form on a GPU and runs the plain twin.
  virtual void attention(const at::Tensor& qkv_NX, const SampleBorders& borders, const AttentionShape& shape,
                         const at::Tensor& out, const at::Tensor& logsumexp_HN) const = 0;
  virtual void attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                                  const at::Tensor& logsumexp_HN, const SampleBorders& borders,
                                  const AttentionShape& shape, const at::Tensor& dqkv_NX) const = 0;
  virtual void cached_attention(const at::Tensor& qkv_NX, const std::vector<CachedRows>& sequences,
                                const AttentionShape& shape, const at::Tensor& out) const = 0;

  virtual RowScores linear_cross_entropy(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                         const at::Tensor& targets_N) const = 0;
  virtual RowScores linear_cross_entropy_backward(const at::Tensor& hidden_ND, const at::Tensor& head_VD,
                                                  const at::Tensor& targets_N, const at::Tensor& dhidden_ND,
                                                  const at::Tensor& dhead_VD, const at::Tensor& weights_N) const = 0;

  virtual std::unique_ptr<AdamW> make_adamw(std::vector<AdamWTensor> tensors,
                                            std::vector<at::Tensor> gradients) const = 0;

  /// "NVIDIA H100 80GB HBM3, 79.2 GiB".
  virtual std::string describe() const = 0;
  /// Free memory of the device, in bytes.
  virtual int64_t free_memory_bytes() const = 0;
  virtual std::unique_ptr<Stopwatch> make_stopwatch() const = 0;
  /// The most that LibTorch has reserved for tensors at a time, in bytes: what a GPU has to have.
  virtual int64_t peak_memory_bytes() const = 0;
  /// A named range for profilers (NVTX) around what is enqueued until pop_range.
  virtual void push_range(const char* name) const = 0;
  virtual void pop_range() const = 0;
  /// Waits until all that was enqueued is done.
  virtual void synchronize() const = 0;
};

/// The ops of the device that `t` lies on; null: the CPU's own.
const DeviceOps* device_ops(const at::Tensor& t);
const DeviceOps* device_ops(at::DeviceType type);

/// Makes `ops` those of a type of device. Null takes them away. Tests give the CPU the kernels run by tests/simt.
void set_device_ops(at::DeviceType type, const DeviceOps* ops);

}  // namespace qtune
