#include "liveness.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "qtune/base/error.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kVerdict = "verdict";
constexpr const char* kBye = "bye";
constexpr const char* kRestart = "run the same command again: it goes on from the last whole checkpoint";
/// A rank is given up after the timeout, or after this much silence, whatever comes first: its beat needs no more than
/// one awake thread.
constexpr milliseconds kLongestSilence{30'000};
/// The same once a collective has failed: then somebody is gone, and the question is only who.
constexpr milliseconds kSuspiciousSilence{3'500};
/// Phases may change faster than anybody needs to know.
constexpr milliseconds kEarliestBeat{100};

/// At once: another thread may be inside a collective that never ends.
[[noreturn]] void end_process() {
  spdlog::default_logger()->flush();
  std::fflush(nullptr);
  ::_exit(kExitDistributed);
}

[[noreturn]] void say_and_end(const std::string& what) {
  spdlog::error("{} ---> {}", what, kRestart);
  end_process();
}

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

MeetingDeadline::MeetingDeadline(const Launch& launch, milliseconds most)
    : thread_([this, launch, most] {
        std::unique_lock lock(mutex_);
        if (met_.wait_for(lock, most, [this] { return over_; })) return;
        say_and_end(fmt::format("rank {} (host {}) has not met the other {} ranks within {} s: rank 0 does not answer",
                                launch.rank, launch.host, launch.world_size - 1, most.count() / 1000));
      }) {}

MeetingDeadline::~MeetingDeadline() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  met_.notify_all();
  thread_.join();
}

Liveness::Liveness(const Launch& launch, const Rendezvous& rendezvous, milliseconds timeout)
    : launch_(launch),
      timeout_(timeout),
      beat_every_(std::clamp(timeout / 8, 2 * kEarliestBeat, milliseconds(1000))),
      silence_(std::min(timeout, kLongestSilence)),
      own_store_(connect_to_store(rendezvous, std::min(timeout, kLongestSilence))),
      main_store_(connect_to_store(rendezvous, std::min(timeout, kLongestSilence))) {
  try {
    wait_for_all();
  } catch (const DistError&) {
    throw;
  } catch (const std::exception&) {
    throw DistError(fmt::format("rank 0 left while rank {} waited for all {} ranks ---> see what rank 0 says",
                                launch_.rank, launch_.world_size));
  }
  last_.assign(static_cast<size_t>(launch_.world_size), {"", Clock::now()});
  last_answer_ = Clock::now();
  beats_ = std::thread([this] { beat_for_ever(); });
  guard_ = std::thread([this] { guard_for_ever(); });
}

void Liveness::wait_for_all() {
  main_store_->set(key(launch_.rank), bytes_of(own_beat(0)));
  const auto end = Clock::now() + timeout_;
  std::vector<int> missing;
  for (int rank = 0; rank < launch_.world_size; ++rank) {
    while (!main_store_->check({key(rank)}) && Clock::now() < end) std::this_thread::sleep_for(milliseconds(20));
    if (!main_store_->check({key(rank)})) missing.push_back(rank);
  }
  if (missing.empty()) return;
  const bool say = claim("missing ranks");
  if (launch_.rank == 0) std::this_thread::sleep_for(milliseconds(1500));  // the store goes with it; others look too
  throw DistError(!say ? ""
                       : fmt::format("expected {} ranks, found none of {} within {} s ---> look at their hosts and "
                                     "logs, or raise ddp_timeout",
                                     launch_.world_size, fmt::join(missing, ", "), timeout_.count() / 1000));
}

Liveness::~Liveness() { end_threads(); }

void Liveness::end_threads() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (beats_.joinable()) beats_.join();
  if (guard_.joinable()) guard_.join();
}

void Liveness::set_phase(const char* phase) {
  phase_ = phase;
  {
    const std::lock_guard lock(mutex_);
    phase_is_new_ = true;
  }
  wake_.notify_all();
}

std::string Liveness::own_beat(int64_t count) const {
  return fmt::format("{} {} {} {} {}", count, collectives_.load(), phase_.load(), launch_.host, ::getpid());
}

Liveness::Beat Liveness::parse(const std::string& text) {
  Beat beat{.text = text};
  std::istringstream in(text);
  int64_t count = 0;
  in >> count >> beat.collectives >> beat.phase >> beat.host >> beat.pid;
  return beat;
}

std::string Liveness::describe(int rank, const Beat& beat) const {
  return fmt::format("rank {} (host {}, pid {}, phase {})", rank, beat.host, beat.pid, beat.phase);
}

std::vector<Liveness::Beat> Liveness::read_beats(c10d::Store& store) const {
  std::vector<std::string> keys;
  for (int rank = 0; rank < launch_.world_size; ++rank) keys.push_back(key(rank));
  std::vector<Beat> beats;
  for (const auto& bytes : store.multiGet(keys)) beats.push_back(parse(text_of(bytes)));
  return beats;
}

std::string Liveness::silent_rank(c10d::Store& store) {
  const std::vector<Beat> beats = read_beats(store);
  const auto now = Clock::now();
  for (int rank = 0; rank < launch_.world_size; ++rank) {
    const Beat& beat = beats[static_cast<size_t>(rank)];
    auto& [text, since] = last_[static_cast<size_t>(rank)];
    if (text != beat.text || beat.text == kBye) {
      text = beat.text;
      since = now;
    }
    if (now - since < silence_.load()) continue;
    return fmt::format("{} has not been heard of for {:.0f} s: it was killed or stopped, or its network is cut",
                       describe(rank, beat), std::chrono::duration<double>(now - since).count());
  }
  return "";
}

bool Liveness::claim_at(c10d::Store& store, const std::string& what) {
  // Own words: two ranks may find the same.
  const std::string own = fmt::format("{}: {}", launch_.rank, what);
  return text_of(store.compareSet(kVerdict, bytes_of(""), bytes_of(own))) == own;
}

bool Liveness::claim(const std::string& what) {
  try {
    return claim_at(*main_store_, what);
  } catch (const std::exception&) {
    return true;  // nobody to agree with: better twice than never
  }
}

void Liveness::wait_for_goodbyes(c10d::Store& store, milliseconds most) const {
  const auto end = Clock::now() + most;
  while (Clock::now() < end) {
    const std::vector<Beat> beats = read_beats(store);
    const auto gone = [&](const Beat& b) { return b.text == kBye; };
    if (std::all_of(beats.begin() + 1, beats.end(), gone)) return;
    std::this_thread::sleep_for(milliseconds(20));
  }
}

bool Liveness::report_own_failure(const std::string& what) {
  failed_ = true;
  const bool mine = claim(what);
  try {
    if (launch_.rank == 0) {
      wait_for_goodbyes(*main_store_, 4 * beat_every_ + milliseconds(500));
    } else {
      main_store_->set(key(launch_.rank), bytes_of(kBye));
    }
  } catch (const std::exception&) {
    // The others find the store gone.
  }
  return mine;
}

void Liveness::leave(c10d::Store& store, const std::string& what, bool say) {
  if (say) spdlog::error("{} ---> {}", what, kRestart);
  try {
    if (launch_.rank == 0) {
      wait_for_goodbyes(store, 4 * beat_every_ + milliseconds(500));
    } else {
      store.set(key(launch_.rank), bytes_of(kBye));
    }
  } catch (const std::exception&) {
    // The store is gone already; so are we.
  }
  end_process();
}

/// Without a store nobody can be asked who speaks: the lowest rank first. Where a launcher ends all ranks when the
/// first one leaves, it is the only one.
void Liveness::leave_without_store() {
  if (was_stopped_) {
    spdlog::warn("rank {} was stopped for long, and the others have ended meanwhile", launch_.rank);
    end_process();
  }
  std::this_thread::sleep_for(milliseconds(std::min(700 * (launch_.rank - 1), 5000)));
  say_and_end(
      fmt::format("rank 0 does not answer rank {} (host {}, phase {}): it was killed or stopped, or the network is cut",
                  launch_.rank, launch_.host, phase_.load()));
}

void Liveness::guard_for_ever() {
  std::unique_lock lock(mutex_);
  auto last = Clock::now();
  while (!stopping_) {
    wake_.wait_for(lock, beat_every_, [&] { return stopping_; });
    const auto now = Clock::now();
    if (now - last > silence_.load() / 2 + beat_every_) was_stopped_ = true;
    last = now;
    if (stopping_ || failed_ || Clock::now() - last_answer_.load() < silence_.load() + beat_every_) continue;
    lock.unlock();
    leave_without_store();
  }
}

void Liveness::beat_for_ever() {
  std::unique_lock lock(mutex_);
  for (int64_t count = 1; !stopping_; ++count) {
    wake_.wait_for(lock, kEarliestBeat, [&] { return stopping_; });
    wake_.wait_for(lock, beat_every_ - kEarliestBeat, [&] { return stopping_ || phase_is_new_; });
    if (stopping_) return;
    phase_is_new_ = false;
    lock.unlock();
    bool answered = false;
    std::string found;
    bool mine = false, silent = false;
    try {
      own_store_->set(key(launch_.rank), bytes_of(own_beat(count)));
      if (own_store_->check({kVerdict})) {
        found = text_of(own_store_->get(kVerdict));
      } else if (launch_.rank == 0) {
        const std::string who = silent_rank(*own_store_);
        if (!who.empty() && was_stopped_) leave_without_store();  // no wonder: they have given this rank up
        if (!who.empty()) {
          silent = true;
          mine = claim_at(*own_store_, who);
          found = who;
        }
      }
      answered = true;
      last_answer_ = Clock::now();
    } catch (const std::exception&) {
      // Said below: the store is gone.
    }
    if (!answered) {
      if (failed_) return;
      leave_without_store();
    }
    if (!found.empty()) {
      if (failed_) return;  // the main thread is on its way out, with its own exit code
      leave(*own_store_, found, silent && mine);
    }
    lock.lock();
  }
}

void Liveness::leave_after(const std::string& reason) {
  silence_ = std::min(silence_.load(), kSuspiciousSilence);
  // The thread leaves as soon as there is a verdict, and rank 0's gives one when somebody is silent. So does the loss
  // of the store.
  std::this_thread::sleep_for(std::max(silence_.load() + 3 * beat_every_, milliseconds(1000)));
  // All are there: one does not make the calls that the others make.
  std::string what = fmt::format("rank {} (host {}, phase {}): {}", launch_.rank, launch_.host, phase_.load(), reason);
  try {
    const std::vector<Beat> beats = read_beats(*main_store_);
    const auto begun = [](const Beat& a, const Beat& b) { return a.collectives < b.collectives; };
    const auto least = std::min_element(beats.begin(), beats.end(), begun);
    if (least->text == kBye) {
      what = fmt::format("rank {} ended before the others", least - beats.begin());
    } else if (least->collectives < std::max_element(beats.begin(), beats.end(), begun)->collectives) {
      what = fmt::format("{} kept the others waiting for more than {} s",
                         describe(static_cast<int>(least - beats.begin()), *least), timeout_.count() / 1000);
    }
  } catch (const std::exception&) {
    leave_without_store();
  }
  leave(*main_store_, what, claim(what));
}

void Liveness::finish() {
  end_threads();
  try {
    main_store_->set(key(launch_.rank), bytes_of(kBye));
    if (launch_.rank == 0) wait_for_goodbyes(*main_store_, std::min(timeout_, kLongestSilence));
  } catch (const std::exception&) {
    // All ranks had done their work: whoever went before its goodbye leaves nothing undone.
  }
}

}  // namespace qtune
