// What libqtune_cuda.so offers to dist: NCCL needs LibTorch's CUDA libraries, which only that library is linked with.
#pragma once

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

namespace qtune {

/// Its name in the library.
inline constexpr const char* kMakeNccl = "qtune_make_nccl";

/// A process group on the current GPU, and that GPU's UUID. Nothing is sent yet: NCCL connects at the first collective.
/// timeout: after which NCCL itself gives up; the communicator's own watch comes first.
using MakeNccl = void(const c10::intrusive_ptr<c10d::Store>& store, int rank, int world_size,
                      std::chrono::milliseconds timeout, c10::intrusive_ptr<c10d::Backend>& backend, std::string& gpu);

}  // namespace qtune
