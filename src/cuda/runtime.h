// What kernel_ops needs of the CUDA runtime: runtime_cuda.cpp has it for a GPU, tests/cuda/runtime_simt.cpp for kernels
// run on the CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include "qtune/base/error.h"

namespace qtune {

/// The stream that LibTorch enqueues on for this thread.
cudaStream_t current_stream();

/// Throws: Error naming the op and CUDA's message.
void check_launch(const char* op, cudaError_t error);

/// A tensor's values as kernels see them. Undefined: null.
template <class T>
T* pointer(const at::Tensor& t) {
  return t.defined() ? static_cast<T*>(t.data_ptr()) : nullptr;
}

/// Calls f with a null pointer of the kernels' type for the tensor's element type.
template <class F>
void dispatch_kernel_type(const at::Tensor& t, F&& f) {
  if (t.scalar_type() == at::kFloat) return f(static_cast<float*>(nullptr));
  if (t.scalar_type() == at::kBFloat16) return f(static_cast<__nv_bfloat16*>(nullptr));
  throw Error(std::string("expected float32 or bfloat16 on the device, found ") + c10::toString(t.scalar_type()));
}

/// float32 memory beside `like` for a kernel's partial sums; at least one element.
at::Tensor float_workspace(const at::Tensor& like, int64_t size);

}  // namespace qtune
