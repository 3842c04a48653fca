// NCCL for dist/backends.cpp. Left out of the library where nccl.h was not found.
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "qtune/dist/nccl_entry.h"
#include "runtime.h"

namespace qtune {
namespace {

std::string uuid_of(int device) {
  cudaDeviceProp properties{};
  check_launch("nccl", cudaGetDeviceProperties(&properties, device));
  std::string text = "GPU-";
  for (const char byte : properties.uuid.bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

}  // namespace
}  // namespace qtune

extern "C" void qtune_make_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int world_size,
                                std::chrono::milliseconds timeout, c10::intrusive_ptr<c10d::Backend>& backend,
                                std::string& gpu) {
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  gpu = qtune::uuid_of(c10::cuda::current_device());
  backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, rank, world_size, options);
}

static_assert(std::is_same_v<decltype(qtune_make_nccl), qtune::MakeNccl>);
