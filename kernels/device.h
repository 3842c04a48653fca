// What every .cu file includes. The file compiles two ways: by nvcc, as it stands; and with -DQTUNE_SIMT as plain C++,
// run thread by thread by tests/simt (docs/simt.md). Hidden here is only what has to differ: launches and the
// declaration of shared memory. All else is CUDA as written: threadIdx, __syncthreads, __shfl_xor_sync, atomicAdd.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/host_device.h"

#ifdef QTUNE_SIMT
#include "tests/simt/simt.h"
#endif

namespace qtune {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;

struct LaunchConfig {
  dim3 grid, block;
  size_t shared_bytes = 0;  // dynamic
  cudaStream_t stream = nullptr;
};

#ifdef QTUNE_SIMT

/// Pointer into shared memory, for the parameters of device functions.
template <class T>
using SharedPtr = simt::SharedPtr<T>;

// Elements are read and written whole: `sums[i] = x`, `float y = sums[i]`; not `states[i].max`.
#define QTUNE_SHARED(type, name, count) \
  const auto name = ::qtune::simt::shared_array<type>(#name, count, __FILE__, __LINE__)
#define QTUNE_DYNAMIC_SHARED(type, name) const auto name = ::qtune::simt::dynamic_shared_array<type>(#name)

/// The same bytes as another type: how dynamic shared memory is divided.
template <class To, class From>
SharedPtr<To> shared_cast(SharedPtr<From> p) {
  return p.template as<To>();
}

template <auto kernel, class... Args>
cudaError_t launch(const LaunchConfig& config, Args&&... args) {
  return simt::launch_with<kernel>(kernel, config.grid, config.block, config.shared_bytes, args...);
}

#elif defined(__CUDACC__)

template <class T>
using SharedPtr = T*;

#define QTUNE_SHARED(type, name, count) __shared__ type name[count]
#define QTUNE_DYNAMIC_SHARED(type, name)                        \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  type* const name = reinterpret_cast<type*>(name##_bytes)

template <class To, class From>
__device__ To* shared_cast(From* p) {
  return reinterpret_cast<To*>(p);
}

/// Enqueues `kernel` and returns the launch's error.
template <auto kernel, class... Args>
cudaError_t launch(const LaunchConfig& config, Args&&... args) {
  constexpr size_t kUsualSharedBytes = size_t{48} << 10;  // more has to be asked for
  if (config.shared_bytes > kUsualSharedBytes) {
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(config.shared_bytes));
    if (error != cudaSuccess) return error;
  }
  // clang-format off
  kernel<<<config.grid, config.block, config.shared_bytes, config.stream>>>(args...);
  // clang-format on
  return cudaGetLastError();
}

#endif

}  // namespace qtune
