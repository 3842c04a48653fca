#include "peers.h"

#include <c10/core/DeviceGuard.h>

#include <cstdlib>

#include "backends.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"

namespace qtune {

using std::chrono::milliseconds;

template <class F>
auto Communicator::Peers::guarded(F f) -> decltype(f()) {
  try {
    return f();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    const std::string message = e.what();
    liveness_.leave_after("a collective failed: " + message.substr(0, message.find('\n')));
  }
}

Communicator::Peers::Peers(const Launch& launch, const CommunicatorOptions& options)
    : timeout_(options.timeout),
      device_(options.device),
      deadline_(std::make_unique<MeetingDeadline>(launch, timeout_ + std::chrono::seconds(5))),
      rendezvous_(meet(launch, timeout_)),
      liveness_(launch, rendezvous_, timeout_, options.silence) {
  said_once(liveness_, [&] { guarded([&] { connect(launch, options); }); });
  deadline_.reset();
}

void Communicator::Peers::connect(const Launch& launch, const CommunicatorOptions& options) {
  agree_on_addresses(launch, rendezvous_);
  cpu_ = make_gloo(launch, rendezvous_, timeout_);
  if (options.device.is_cpu()) return;
  // Ours ends the job with a message; NCCL's with a stack trace.
  const milliseconds later = timeout_ + std::chrono::minutes(10);
  for (const char* name :
       {"TORCH_NCCL_ASYNC_ERROR_HANDLING", "TORCH_NCCL_ENABLE_MONITORING", "TORCH_NCCL_DUMP_ON_TIMEOUT"}) {
    ::setenv(name, "0", /*overwrite=*/0);
  }
  auto [backend, gpu] = make_nccl(launch, rendezvous_, later);
  gpu_backend_ = std::move(backend);
  gpu_ = std::move(gpu);
  liveness_.watch([this] { return is_overdue(); });
}

Communicator::Peers::~Peers() { liveness_.watch({}); }

void Communicator::Peers::drop_ended() {
  while (!under_way_.empty() && under_way_.front().work && under_way_.front().work->isCompleted()) {
    if (const std::exception_ptr fault = under_way_.front().work->exception()) std::rethrow_exception(fault);
    under_way_.pop_front();
  }
}

bool Communicator::Peers::is_overdue() {
  const c10::DeviceGuard guard(device_);  // the thread's own would be the first GPU
  const std::lock_guard lock(mutex_);
  drop_ended();
  return !under_way_.empty() && std::chrono::steady_clock::now() - under_way_.front().since > timeout_;
}

std::function<void()> Communicator::Peers::start(at::Device device, const StartWork& start_work,
                                                 double& seconds_waited) {
  c10d::Backend& backend = device.is_cpu() ? *cpu_ : *gpu_backend_;
  liveness_.begin_collective();
  if (!device.is_cpu()) {
    const std::lock_guard lock(mutex_);
    under_way_.push_back({nullptr, std::chrono::steady_clock::now()});
  }
  const c10::intrusive_ptr<c10d::Work> work = guarded([&] { return start_work(backend); });
  if (!device.is_cpu()) {
    const std::lock_guard lock(mutex_);
    under_way_.back().work = work;  // one thread starts collectives
    guarded([&] { drop_ended(); });
  }
  return [this, work, device, &seconds_waited] {
    const auto begin = std::chrono::steady_clock::now();
    guarded([&] { return device.is_cpu() ? work->wait(timeout_) : work->wait(); });
    seconds_waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
}

void Communicator::Peers::abort() {
  try {
    if (gpu_backend_) gpu_backend_->abort();
  } catch (const std::exception& e) {
    spdlog::warn("NCCL could not be stopped: {}", e.what());  // the process ends all the same
  }
}

void Communicator::Peers::shut_down() {
  liveness_.watch({});
  if (gpu_backend_) gpu_backend_->shutdown();
}

}  // namespace qtune
