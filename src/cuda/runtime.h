// What kernel_ops needs of the CUDA runtime: runtime_cuda.cpp has it for a GPU, tests/cuda/runtime_simt.cpp for kernels
// run on the CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "qtune/base/error.h"

namespace qtune {

/// The stream that LibTorch enqueues on for this thread.
cudaStream_t current_stream();

/// Throws: Error naming the op and CUDA's message.
void check_launch(const char* op, cudaError_t error);

/// The element type of tensors that kernels read as T. What is no number lies in bytes.
template <class T>
inline constexpr at::ScalarType kScalarType = at::kByte;
template <>
inline constexpr at::ScalarType kScalarType<float> = at::kFloat;
template <>
inline constexpr at::ScalarType kScalarType<double> = at::kDouble;
template <>
inline constexpr at::ScalarType kScalarType<__nv_bfloat16> = at::kBFloat16;
template <>
inline constexpr at::ScalarType kScalarType<int32_t> = at::kInt;
template <>
inline constexpr at::ScalarType kScalarType<__nv_fp8_storage_t> = at::kFloat8_e4m3fn;

/// A tensor's values as kernels see them, whatever its strides. Undefined: null.
/// Throws: Error for another element type, which the kernel would read as this one.
template <class T>
T* strided_pointer(const at::Tensor& t) {
  if (!t.defined()) return nullptr;
  if (t.scalar_type() != kScalarType<T>) {
    throw Error(fmt::format("a kernel's tensor: expected {}, found {}", c10::toString(kScalarType<T>),
                            c10::toString(t.scalar_type())));
  }
  return static_cast<T*>(t.data_ptr());
}

/// The same of a contiguous tensor.
/// Throws: Error for another one, too.
template <class T>
T* pointer(const at::Tensor& t) {
  if (t.defined() && !t.is_contiguous()) {
    throw Error(fmt::format("a kernel's tensor: expected it contiguous, found shape {} with strides {}",
                            fmt::join(t.sizes(), " x "), fmt::join(t.strides(), ", ")));
  }
  return strided_pointer<T>(t);
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
