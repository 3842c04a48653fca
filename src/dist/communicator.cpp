#include "qtune/dist/communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Flags.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <thread>

#include "peers.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"

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

void Communicator::Pending::wait() {
  if (wait_) wait_();
  wait_ = nullptr;
}

Communicator::Communicator() = default;
Communicator::Communicator(const Launch& launch, const CommunicatorOptions& options) : launch_(launch) {
  if (launch.world_size == 1 && !options.connect_alone) return;
  quieten_c10d();
  // Writing to a rank that is gone is an error like any other.
  std::signal(SIGPIPE, SIG_IGN);
  peers_ = std::make_unique<Peers>(launch, options);
  said_once(peers_->liveness(), [this] { check_devices(); });
}
Communicator::~Communicator() = default;

void Communicator::check_devices() {
  constexpr const char* kCpu = "no GPU";
  const std::string own = peers_->gpu().empty() ? kCpu : peers_->gpu();
  const std::vector<std::string> devices = gather_bytes(own), hosts = gather_bytes(launch_.host);
  for (size_t rank = 1; rank < devices.size(); ++rank) {
    if ((devices[rank] == kCpu) != (devices[0] == kCpu)) {
      throw ConfigError(
          fmt::format("rank {} (host {}) uses {}, rank 0 (host {}) {} ---> use_cpu: true, or a GPU for each", rank,
                      hosts[rank], devices[rank], hosts[0], devices[0]));
    }
    const auto same = std::find(devices.begin(), devices.begin() + static_cast<int64_t>(rank), devices[rank]);
    if (devices[rank] == kCpu || same == devices.begin() + static_cast<int64_t>(rank)) continue;
    throw ConfigError(fmt::format("ranks {} and {} (host {}) share {} ---> start one rank a GPU",
                                  same - devices.begin(), rank, hosts[rank], devices[rank]));
  }
  if (own == kCpu || !is_first()) return;
  for (size_t rank = 0; rank < devices.size(); ++rank)
    spdlog::info("rank {}: host {}, {}", rank, hosts[rank], devices[rank]);
}

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
      tensor.device(),
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
      tensors.front().device(),
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
      all.device(),
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
      all.device(),
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
      tensor.device(),
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

void Communicator::report_failure(const std::string& what, int exit_code) {
  if (peers_) {
    // Whatever c10d waits for on the way out.
    std::thread([exit_code] {
      std::this_thread::sleep_for(std::chrono::seconds(15));
      ::_exit(exit_code);
    }).detach();
    peers_->liveness().report_own_failure(what);
    return peers_->abort();
  }
  if (!what.empty()) spdlog::error("{}", what);
}

void Communicator::finish() {
  if (!peers_) return;
  barrier();
  peers_->shut_down();
  peers_->liveness().finish();
}

}  // namespace qtune
