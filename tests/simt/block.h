// Runs one launch block by block, each thread of a block as a fiber, and holds barriers and warp collectives to the
// rules of CUDA's programming guide. A thread runs until it waits; which ready thread goes next is the Order.
#pragma once

#include <vector_types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include "simt/fault.h"

namespace qtune::simt {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kMaxThreads = 1024;

/// The order in which the threads of a block take turns. kMixed: another one for each block, from block to block.
enum class Order { kMixed, kForward, kReverse, kShuffled };

/// For all launches from now on; `seed` counts for kShuffled.
void set_order(Order order, uint64_t seed = 0);

struct Launch {
  std::string kernel;
  dim3 grid, block;
  size_t shared_bytes = 0;
  std::function<void()> thread_body;
};

/// The limits of a launch, as the CUDA runtime would see them (sm_90: 227 KiB of dynamic shared memory).
bool is_valid_launch(dim3 grid, dim3 block, size_t shared_bytes);

/// Runs all blocks. False when a fault was reported; blocks after it are not run.
bool run_launch(const Launch& launch);

/// What every lane gave to a warp collective.
using WarpValues = std::array<uint64_t, kWarpSize>;

/// Whether a thread of a launch runs now, not the host.
bool in_kernel();

// Around the change of an atomic operation.
void start_atomic();
void end_atomic();

// For the intrinsics: called by the thread that runs now.
unsigned current_thread();  // x + y * blockDim.x + z * blockDim.x * blockDim.y
unsigned current_lane();

/// Reports the fault and gives up the launch.
[[noreturn]] void fail(const std::string& what, Location at);

/// Reports the launch's first fault; the thread goes on to its next wait, for where nothing may be thrown.
void report_running(const std::string& what);

/// Waits for all threads of the block. Returns how many of them gave a true predicate.
int wait_at_barrier(const char* intrinsic, bool predicate, Location at);

/// Waits for the lanes of `mask`, which must come with the same intrinsic and mask. Returns what lane `source` gave.
uint64_t shuffle_in_warp(const char* intrinsic, unsigned mask, uint64_t value, unsigned source, Location at);

/// The same, and returns what each lane of the mask gave; the others' entries mean nothing.
const WarpValues& gather_in_warp(const char* intrinsic, unsigned mask, uint64_t value, Location at);

/// __syncwarp: the one warp collective that orders memory accesses.
void sync_warp(unsigned mask, Location at);

/// Whether what thread `other` did at its clock `clock`, since the last __syncthreads, comes before now for sure.
bool ordered_by_syncwarp(unsigned other, uint32_t clock);
uint32_t current_clock();  // counts this thread's __syncwarps

/// "thread (3, 0, 0)"
std::string thread_name(unsigned thread);

}  // namespace qtune::simt

// CUDA's built-in variables: set before a thread goes on.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
