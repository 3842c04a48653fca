// The library behind the collectives, by the device of their tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "rendezvous.h"

namespace qtune {

/// Gloo for the CPU. For a GPU NCCL, which libqtune_cuda.so holds.
/// Throws: DistError where it can't be had.
c10::intrusive_ptr<c10d::Backend> make_backend(at::Device device, const Launch& launch, const Rendezvous& rendezvous,
                                               std::chrono::milliseconds timeout);

}  // namespace qtune
