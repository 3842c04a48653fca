#include "qtune/dist/communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Flags.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "backends.h"
#include "liveness.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "rendezvous.h"

C10_DECLARE_int(caffe2_log_level);

namespace qtune {
namespace {

/// c10d warns of every broken connection with a stack trace; what matters of it, liveness says.
void quieten_c10d() {
  constexpr int kErrorsOnly = 2;
  FLAGS_caffe2_log_level = std::max(FLAGS_caffe2_log_level, kErrorsOnly);
}

void check_tensor(const char* call, const at::Tensor& tensor) {
  if (!tensor.is_contiguous()) throw Error(fmt::format("{}: expected a contiguous tensor", call));
}

void check_pieces(const char* call, const at::Tensor& all, const at::Tensor& own, int world_size) {
  check_tensor(call, all);
  check_tensor(call, own);
  if (all.numel() == own.numel() * world_size && all.scalar_type() == own.scalar_type()) return;
  throw Error(
      fmt::format("{}: expected {} pieces of {} elements, found {}", call, world_size, own.numel(), all.numel()));
}

int64_t bytes_of(const at::Tensor& tensor) { return tensor.numel() * static_cast<int64_t>(tensor.element_size()); }

}  // namespace

/// The others: connections to them, and the watch over them.
class Communicator::Peers {
 public:
  Peers(const Launch& launch, const CommunicatorOptions& options)
      : timeout_(options.timeout),
        deadline_(std::make_unique<MeetingDeadline>(launch, timeout_ + std::chrono::seconds(5))),
        rendezvous_(meet(launch, timeout_)),
        liveness_(launch, rendezvous_, timeout_, options.silence),
        backend_(guarded([&] {
          agree_on_addresses(launch, rendezvous_);
          return make_backend(options.device, launch, rendezvous_, timeout_);
        })) {
    deadline_.reset();
  }

  Liveness& liveness() { return liveness_; }

  /// Starts a collective and returns what waits for it.
  template <class Start>
  std::function<void()> start(Start start_work, double& seconds_waited) {
    liveness_.begin_collective();
    const c10::intrusive_ptr<c10d::Work> work = guarded([&] { return start_work(*backend_); });
    return [this, work, &seconds_waited] {
      const auto begin = std::chrono::steady_clock::now();
      guarded([&] { return work->wait(timeout_); });
      seconds_waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    };
  }

 private:
  /// What c10d throws is a lost rank or a mismatch.
  template <class F>
  auto guarded(F f) -> decltype(f()) {
    try {
      return f();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      const std::string message = e.what();
      liveness_.leave_after("a collective failed: " + message.substr(0, message.find('\n')));
    }
  }

  const std::chrono::milliseconds timeout_;
  std::unique_ptr<MeetingDeadline> deadline_;  // null when all have met
  Rendezvous rendezvous_;
  Liveness liveness_;
  c10::intrusive_ptr<c10d::Backend> backend_;
};

void Communicator::Pending::wait() {
  if (wait_) wait_();
  wait_ = nullptr;
}

Communicator::Communicator() = default;
Communicator::Communicator(const Launch& launch, const CommunicatorOptions& options) : launch_(launch) {
  if (launch.world_size == 1) return;
  quieten_c10d();
  // Writing to a rank that is gone is an error like any other.
  std::signal(SIGPIPE, SIG_IGN);
  peers_ = std::make_unique<Peers>(launch, options);
}
Communicator::~Communicator() = default;

int Communicator::rank() const { return launch_.rank; }
int Communicator::world_size() const { return launch_.world_size; }
const Launch& Communicator::launch() const { return launch_; }
const CommunicatorCounts& Communicator::counts() const { return counts_; }

Communicator::Pending Communicator::start_all_reduce_sum(const at::Tensor& tensor) {
  check_tensor("all_reduce_sum", tensor);
  Pending pending;
  if (!peers_) return pending;
  counts_.all_reduced_bytes += bytes_of(tensor);
  pending.wait_ = peers_->start(
      [&](c10d::Backend& backend) {
        std::vector<at::Tensor> tensors{tensor};
        return backend.allreduce(tensors, {});
      },
      counts_.seconds_waited);
  return pending;
}

Communicator::Pending Communicator::start_all_reduce_sum(const std::vector<at::Tensor>& tensors) {
  Pending pending;
  if (!peers_ || tensors.empty()) return pending;
  for (const at::Tensor& tensor : tensors) {
    check_tensor("all_reduce_sum", tensor);
    counts_.all_reduced_bytes += bytes_of(tensor);
  }
  pending.wait_ = peers_->start(
      [&](c10d::Backend& backend) {
        std::vector<at::Tensor> copy = tensors;
        return backend.allreduce_coalesced(copy, {});
      },
      counts_.seconds_waited);
  return pending;
}

void Communicator::all_reduce_sum(const at::Tensor& tensor) { start_all_reduce_sum(tensor).wait(); }

void Communicator::reduce_scatter_sum(const at::Tensor& all, const at::Tensor& own) {
  check_pieces("reduce_scatter_sum", all, own, world_size());
  if (!peers_) {
    own.copy_(all.view(own.sizes()));
    return;
  }
  counts_.reduce_scattered_bytes += bytes_of(all);
  peers_->start(
      [&](c10d::Backend& backend) {
        at::Tensor output = own, input = all;
        return backend._reduce_scatter_base(output, input, {});
      },
      counts_.seconds_waited)();
}

void Communicator::all_gather(const at::Tensor& own, const at::Tensor& all) {
  check_pieces("all_gather", all, own, world_size());
  if (!peers_) {
    all.view(own.sizes()).copy_(own);
    return;
  }
  counts_.all_gathered_bytes += bytes_of(all);
  peers_->start(
      [&](c10d::Backend& backend) {
        at::Tensor output = all, input = own;
        return backend._allgather_base(output, input, {});
      },
      counts_.seconds_waited)();
}

Communicator::Pending Communicator::start_broadcast(const at::Tensor& tensor, int root) {
  check_tensor("broadcast", tensor);
  Pending pending;
  if (!peers_) return pending;
  counts_.broadcast_bytes += bytes_of(tensor);
  pending.wait_ = peers_->start(
      [&](c10d::Backend& backend) {
        std::vector<at::Tensor> tensors{tensor};
        c10d::BroadcastOptions options;
        options.rootRank = root;
        return backend.broadcast(tensors, options);
      },
      counts_.seconds_waited);
  return pending;
}

void Communicator::broadcast(const at::Tensor& tensor, int root) { start_broadcast(tensor, root).wait(); }

std::vector<std::string> Communicator::gather_bytes(const std::string& own) {
  if (!peers_) return {own};
  const auto n = static_cast<int64_t>(world_size());
  const at::Tensor sizes = at::zeros({n}, at::kLong);
  all_gather(at::full({1}, static_cast<int64_t>(own.size()), at::kLong), sizes);
  const int64_t longest = sizes.max().item<int64_t>();
  std::vector<std::string> texts(static_cast<size_t>(n));
  if (longest == 0) return texts;
  const at::Tensor piece = at::zeros({longest}, at::kByte), all = at::empty({n * longest}, at::kByte);
  std::memcpy(piece.data_ptr(), own.data(), own.size());
  all_gather(piece, all);
  const char* bytes = static_cast<const char*>(all.data_ptr());
  for (int64_t rank = 0; rank < n; ++rank) {
    texts[static_cast<size_t>(rank)].assign(bytes + rank * longest, static_cast<size_t>(sizes[rank].item<int64_t>()));
  }
  return texts;
}

void Communicator::barrier() { all_reduce_sum(at::zeros({1}, at::kInt)); }

void Communicator::set_phase(const char* phase) {
  if (peers_) peers_->liveness().set_phase(phase);
}

void Communicator::report_failure(const std::string& what) {
  if (peers_) return peers_->liveness().report_own_failure(what);
  if (!what.empty()) spdlog::error("{}", what);
}

void Communicator::finish() {
  if (!peers_) return;
  barrier();
  peers_->liveness().finish();
}

}  // namespace qtune
