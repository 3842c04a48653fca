// The library behind the collectives, by the device of their tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "rendezvous.h"

namespace qtune {

/// Gloo for the CPU. NCCL for GPUs is not built yet.
/// Throws: DistError for a GPU.
c10::intrusive_ptr<c10d::Backend> make_backend(at::Device device, const Launch& launch, const Rendezvous& rendezvous,
                                               std::chrono::milliseconds timeout);

}  // namespace qtune
