#include "runtime.h"

#include <ATen/ops/empty.h>
#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernel_ops.h"
#include "nvtx3/nvToolsExt.h"

namespace qtune {

cudaStream_t current_stream() { return c10::cuda::getCurrentCUDAStream(); }

void check_launch(const char* op, cudaError_t error) {
  if (error == cudaSuccess) return;
  throw Error(fmt::format("{}: CUDA: {} ({})", op, cudaGetErrorString(error), cudaGetErrorName(error)));
}

at::Tensor float_workspace(const at::Tensor& like, int64_t size) {
  return at::empty({std::max<int64_t>(1, size)}, like.options().dtype(at::kFloat));
}

std::string KernelOps::describe() const {
  cudaDeviceProp properties{};
  check_launch("describe", cudaGetDeviceProperties(&properties, c10::cuda::current_device()));
  return fmt::format("{}, {:.1f} GiB, sm_{}{}", properties.name,
                     static_cast<double>(properties.totalGlobalMem) / (1 << 30), properties.major, properties.minor);
}

bool KernelOps::has_fp8() const {
  int major = 0, minor = 0;
  const int device = c10::cuda::current_device();
  check_launch("has_fp8", cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  check_launch("has_fp8", cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  return major * 10 + minor >= 89;
}

int64_t KernelOps::free_memory_bytes() const {
  size_t free = 0, total = 0;
  check_launch("free_memory_bytes", cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

namespace {

class EventStopwatch : public Stopwatch {
 public:
  ~EventStopwatch() override {
    for (cudaEvent_t event : events_) cudaEventDestroy(event);
  }
  void mark() override {
    cudaEvent_t event = nullptr;
    check_launch("stopwatch", cudaEventCreate(&event));
    events_.push_back(event);
    check_launch("stopwatch", cudaEventRecord(event, current_stream()));
  }
  double seconds(size_t interval) override {
    float milliseconds = 0;
    check_launch("stopwatch", cudaEventSynchronize(events_.at(interval + 1)));
    check_launch("stopwatch", cudaEventElapsedTime(&milliseconds, events_.at(interval), events_.at(interval + 1)));
    return static_cast<double>(milliseconds) / 1e3;
  }

 private:
  std::vector<cudaEvent_t> events_;
};

}  // namespace

std::unique_ptr<Stopwatch> KernelOps::make_stopwatch() const { return std::make_unique<EventStopwatch>(); }

int64_t KernelOps::peak_memory_bytes() const {
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(c10::cuda::current_device());
  return stats.reserved_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

void KernelOps::push_range(const char* name) const { nvtxRangePushA(name); }
void KernelOps::pop_range() const { nvtxRangePop(); }
void KernelOps::synchronize() const { c10::cuda::device_synchronize(); }

}  // namespace qtune

/// What src/ops/device.cpp looks for. Null where there is no usable GPU: *why_none then says why.
extern "C" const qtune::DeviceOps* qtune_cuda_ops(int64_t* num_devices, const char** why_none) {
  static const qtune::KernelOps ops;
  *num_devices = c10::cuda::device_count();
  if (*num_devices == 0) {
    *why_none = "LibTorch found no usable GPU ---> look at nvidia-smi; the driver must suit CUDA 13";
    return nullptr;
  }
  int major = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) != cudaSuccess || major < 8) {
    *why_none = "the first GPU is older than sm_80 (A100), for which kernels and flash attention are built";
    return nullptr;
  }
  // Buffers grow with the longest batch so far. In segments that grow too, what they leave behind is used again.
  if (std::getenv("PYTORCH_CUDA_ALLOC_CONF") == nullptr && std::getenv("PYTORCH_ALLOC_CONF") == nullptr) {
    c10::CachingAllocator::setAllocatorSettings("expandable_segments:True");
  }
  return &ops;
}
