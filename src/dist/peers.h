// The other ranks, as the communicator sees them: connections to them, and the watch over them.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "liveness.h"
#include "qtune/base/error.h"
#include "qtune/dist/communicator.h"
#include "rendezvous.h"

namespace qtune {

/// Runs `action` while ranks meet: an Error that all of them find is said by one.
template <class F>
void said_once(Liveness& liveness, F action) {
  try {
    action();
  } catch (const Error& e) {
    liveness.report_own_failure(e.what());
    throw Error("", e.exit_code());
  }
}

class Communicator::Peers {
 public:
  /// Throws: as Communicator.
  Peers(const Launch& launch, const CommunicatorOptions& options);
  ~Peers();

  Liveness& liveness() { return liveness_; }
  /// The GPU that NCCL runs on; empty: there is none.
  const std::string& gpu() const { return gpu_; }

  using StartWork = std::function<c10::intrusive_ptr<c10d::Work>(c10d::Backend&)>;
  /// Starts a collective on tensors of this device, and returns what waits for it. On a GPU that makes what is enqueued
  /// from then on wait, not the caller.
  std::function<void()> start(at::Device device, const StartWork& start_work, double& seconds_waited);

  /// Before an exception ends this rank: what NCCL has under way ends too.
  void abort();
  void shut_down();

 private:
  void connect(const Launch& launch, const CommunicatorOptions& options);
  /// What c10d throws is a lost rank or a mismatch.
  template <class F>
  auto guarded(F f) -> decltype(f());
  /// Whether a collective on the GPU has been under way for longer than the timeout. From the liveness's thread.
  /// Throws: what one has failed with.
  bool is_overdue();
  /// With the lock held: lets go of those that have ended, and of their tensors.
  void drop_ended();

  struct UnderWay {
    c10::intrusive_ptr<c10d::Work> work;  // null: it is being started, which may take NCCL long
    std::chrono::steady_clock::time_point since;
  };

  const std::chrono::milliseconds timeout_;
  const at::Device device_;
  std::mutex mutex_;
  std::deque<UnderWay> under_way_;             // on the GPU, in order
  std::unique_ptr<MeetingDeadline> deadline_;  // null when all have met
  Rendezvous rendezvous_;
  Liveness liveness_;
  c10::intrusive_ptr<c10d::Backend> cpu_, gpu_backend_;  // the second may be null
  std::string gpu_;
};

}  // namespace qtune
