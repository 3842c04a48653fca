#include "peers.h"

#include "backends.h"
#include "qtune/base/error.h"

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
      deadline_(std::make_unique<MeetingDeadline>(launch, timeout_ + std::chrono::seconds(5))),
      rendezvous_(meet(launch, timeout_)),
      liveness_(launch, rendezvous_, timeout_, options.silence) {
  guarded([&] {
    agree_on_addresses(launch, rendezvous_);
    cpu_ = make_gloo(launch, rendezvous_, timeout_);
    if (options.device.is_cpu()) return;
    // Ours ends the job with a message; NCCL's with a stack trace.
    const milliseconds later = timeout_ + std::chrono::minutes(10);
    auto [backend, gpu] = make_nccl(launch, rendezvous_, later);
    gpu_backend_ = std::move(backend);
    gpu_ = std::move(gpu);
    liveness_.watch([this] { return is_overdue(); });
  });
  deadline_.reset();
}

Communicator::Peers::~Peers() { liveness_.watch({}); }

bool Communicator::Peers::is_overdue() {
  const std::lock_guard lock(mutex_);
  while (!under_way_.empty() && under_way_.front().work->isCompleted()) under_way_.pop_front();
  return !under_way_.empty() && std::chrono::steady_clock::now() - under_way_.front().since > timeout_;
}

std::function<void()> Communicator::Peers::start(at::Device device, const StartWork& start_work,
                                                 double& seconds_waited) {
  c10d::Backend& backend = device.is_cpu() ? *cpu_ : *gpu_backend_;
  liveness_.begin_collective();
  const c10::intrusive_ptr<c10d::Work> work = guarded([&] { return start_work(backend); });
  if (!device.is_cpu()) {
    const std::lock_guard lock(mutex_);
    under_way_.push_back({work, std::chrono::steady_clock::now()});
  }
  return [this, work, device, &seconds_waited] {
    const auto begin = std::chrono::steady_clock::now();
    guarded([&] { return device.is_cpu() ? work->wait(timeout_) : work->wait(); });
    seconds_waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
}

void Communicator::Peers::abort() {
  if (gpu_backend_) gpu_backend_->abort();
}

void Communicator::Peers::shut_down() {
  liveness_.watch({});
  if (gpu_backend_) gpu_backend_->shutdown();
}

}  // namespace qtune
