// The device of the emulation: CPU tensors, kernels run thread by thread (tests/simt), products and attention by ATen.
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cuda/kernel_ops.h"
#include "cuda/products.h"
#include "cuda/runtime.h"
#include "kernels/head_score.h"
#include "kernels/token_score_row.h"
#include "qtune/base/memory.h"
#include "qtune/ops/reference.h"

namespace qtune {

cudaStream_t current_stream() { return nullptr; }

void check_launch(const char* op, cudaError_t error) {
  if (error != cudaSuccess) throw Error(std::string(op) + ": the emulated kernel failed");
  ASSERT_FALSE(testing::Test::HasFatalFailure()) << op;
}

at::Tensor float_workspace(const at::Tensor& like, int64_t size) {
  const at::Tensor workspace = at::empty({std::max<int64_t>(1, size)}, like.options().dtype(at::kFloat));
  workspace.fill_(NAN);
  return workspace;
}

void product_with_transposed(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out) {
  at::Tensor product = out;
  product.copy_(at::mm(a.to(out.scalar_type()), b.to(out.scalar_type()).t()));
}

void add_transposed_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& sum) {
  at::Tensor total = sum;
  total.add_(at::mm(a.to(at::kFloat).t(), b.to(at::kFloat)));
}

void product_fp8(const at::Tensor& a, const at::Tensor& a_scales, const at::Tensor& b, const at::Tensor& b_scales,
                 const at::Tensor& out) {
  at::Tensor product = out;
  product.copy_(at::mm(a.to(at::kFloat).mul(a_scales.unsqueeze(1)), b.to(at::kFloat).mul(b_scales.unsqueeze(1)).t()));
}

bool KernelOps::has_fp8() const { return true; }

bool head_score_runs(const HeadScore& /*score*/) { return true; }

/// The contract of kernels/head_score.h by plain loops: its kernel is Hopper's own.
cudaError_t launch_head_score(const HeadScore& s, cudaStream_t /*stream*/) {
  const int64_t num_tiles = (s.num_words + kHeadScoreTileWords - 1) / kHeadScoreTileWords;
  for (int64_t row = 0; row < s.num_rows; ++row) {
    for (int64_t tile = 0; tile < num_tiles; ++tile) {
      RowState state;
      const int64_t end = std::min(s.num_words, (tile + 1) * kHeadScoreTileWords);
      for (int64_t word = tile * kHeadScoreTileWords; word < end; ++word) {
        float logit = 0;
        for (int64_t k = 0; k < s.dim; ++k) {
          logit += __bfloat162float(s.hidden[row * s.dim + k]) * __bfloat162float(s.head[word * s.dim + k]);
        }
        update(state, logit);
        if (s.targets[row] == word) s.target_logit[row] = logit;
      }
      const int64_t place = tile * s.num_rows + row;
      s.states.max[place] = state.max;
      s.states.sum[place] = state.sum;
      s.states.wsum[place] = state.wsum;
    }
  }
  return cudaSuccess;
}

void KernelOps::attention(const at::Tensor& qkv_NX, const SampleBorders& borders, const AttentionShape& shape,
                          const at::Tensor& out, const at::Tensor& logsumexp_HN) const {
  attention_reference(qkv_NX, borders.cu_seqlens, shape, out, logsumexp_HN);
}

void KernelOps::attention_backward(const at::Tensor& dout, const at::Tensor& qkv_NX, const at::Tensor& out,
                                   const at::Tensor& logsumexp_HN, const SampleBorders& borders,
                                   const AttentionShape& shape, const at::Tensor& dqkv_NX) const {
  attention_backward_reference(dout, qkv_NX, out, logsumexp_HN, borders.cu_seqlens, shape, dqkv_NX);
}

std::string KernelOps::describe() const { return "kernels on the CPU"; }
int64_t KernelOps::free_memory_bytes() const { return available_memory_bytes(); }
std::unique_ptr<Stopwatch> KernelOps::make_stopwatch() const { throw Error("no stopwatch in the emulation"); }
int64_t KernelOps::peak_memory_bytes() const { return qtune::peak_memory_bytes(); }
void KernelOps::push_range(const char* /*name*/) const {}
void KernelOps::pop_range() const {}
void KernelOps::synchronize() const {}

}  // namespace qtune
