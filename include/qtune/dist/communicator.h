// What ranks say to each other: collectives, each made by every rank in the same order, and watch over who is still
// there. Over LibTorch's c10d: Gloo for tensors on the CPU, NCCL for those on GPUs.
//
// A rank that dies, stops, throws or is cut off ends all others: each finds out within the timeout plus 10 s, one says
// what happened (rank, host, phase), and all leave with exit code 5. Nothing waits for ever.
#pragma once

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "qtune/dist/launch.h"

namespace qtune {

struct CommunicatorOptions {
  std::chrono::seconds timeout{1800};  // ddp_timeout: the longest that a rank may keep the others waiting
  /// So long without a beat counts as death, if it is shorter than the timeout: a beat needs one awake thread only.
  std::chrono::seconds silence{30};
  /// A GPU: collectives of its tensors go through NCCL, those of CPU tensors through Gloo. It is the process's current
  /// one, chosen before (ops/device.h).
  at::Device device = at::kCPU;
  /// One process by itself makes a process group too (for tests).
  bool connect_alone = false;
};

/// What a communicator has moved and waited for. Bytes are those handed to collectives, not what the wire carries.
struct CommunicatorCounts {
  int64_t all_reduced_bytes = 0, reduce_scattered_bytes = 0, all_gathered_bytes = 0, broadcast_bytes = 0;
  double seconds_waited = 0;  // for tensors on the CPU
};

class Communicator {
 public:
  /// One process by itself: collectives leave tensors as they are.
  Communicator();
  /// Meets the other ranks. One rank: as above.
  /// Throws: ConfigError where rank 0 can't be found, two ranks share a GPU, or some ranks have one and others none;
  /// DistError when not all ranks come within the timeout.
  Communicator(const Launch& launch, const CommunicatorOptions& options);
  /// Without finish(), the others take this rank for dead.
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const;
  int world_size() const;
  bool is_first() const { return rank() == 0; }
  const Launch& launch() const;

  // Collectives. Tensors are contiguous, of one dtype, shape and kind of device on all ranks. On GPUs they are enqueued
  // like everything else there. When a rank is lost, or
  // ranks do not make the same calls, the process ends with exit code 5. Different shapes are a bug that Gloo answers
  // with abort().

  /// An operation under way; its tensors must not be touched before wait().
  class Pending {
   public:
    void wait();

   private:
    friend class Communicator;
    std::function<void()> wait_;
  };

  /// Every rank gets the same bits.
  void all_reduce_sum(const at::Tensor& tensor);
  Pending start_all_reduce_sum(const at::Tensor& tensor);
  /// The same of several tensors of one dtype, as one message. None: nothing is sent.
  Pending start_all_reduce_sum(const std::vector<at::Tensor>& tensors);
  /// own (n) = this rank's piece of the sum of all (world_size * n).
  void reduce_scatter_sum(const at::Tensor& all, const at::Tensor& own);
  /// all (world_size * n) = every rank's own (n), in rank order.
  void all_gather(const at::Tensor& own, const at::Tensor& all);
  void broadcast(const at::Tensor& tensor, int root);
  Pending start_broadcast(const at::Tensor& tensor, int root);
  /// Every rank's bytes, in rank order; lengths may differ, and be 0.
  std::vector<std::string> gather_bytes(const std::string& own);
  void barrier();

  /// What this rank does, for messages: "score", "train". A literal: the pointer is kept.
  void set_phase(const char* phase);
  const CommunicatorCounts& counts() const;

  /// When an exception is about to end this rank: says why, unless another rank has said so of itself, and tells the
  /// others, which leave with exit code 5 and say nothing. One process by itself: says it.
  /// The process ends with exit_code by itself soon, if it does not before.
  void report_failure(const std::string& what, int exit_code);

  /// At the run's regular end, by every rank: nobody is taken for dead from now on. Rank 0 leaves last.
  void finish();

 private:
  class Peers;
  void check_devices();
  std::unique_ptr<Peers> peers_;  // null: one process
  Launch launch_;
  CommunicatorCounts counts_;
};

}  // namespace qtune
