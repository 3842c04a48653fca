// The libraries behind the collectives, by where their tensors lie: Gloo on the CPU, NCCL on GPUs.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "rendezvous.h"

namespace qtune {

c10::intrusive_ptr<c10d::Backend> make_gloo(const Launch& launch, const Rendezvous& rendezvous,
                                            std::chrono::milliseconds timeout);

/// NCCL on this process's current GPU, and which GPU that is.
struct GpuBackend {
  c10::intrusive_ptr<c10d::Backend> backend;
  std::string gpu;  // its UUID
};

/// Comes from libqtune_cuda.so (src/cuda/nccl_backend.cpp), which is loaded by then.
/// Throws: DistError where that was built without NCCL.
GpuBackend make_nccl(const Launch& launch, const Rendezvous& rendezvous, std::chrono::milliseconds timeout);

}  // namespace qtune
