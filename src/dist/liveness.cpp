#include "liveness.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <sstream>

#include "qtune/base/error.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kVerdict = "verdict";
constexpr const char* kHurry = "hurry";  // a collective has failed somewhere: the watcher is to find out who is gone
constexpr const char* kBye = "bye";
constexpr const char* kRestart = "run the same command again: it goes on from the last whole checkpoint";
/// Silence that counts as death once a collective has failed: then somebody is gone, and the question is only who.
constexpr milliseconds kSuspiciousSilence{3'500};
/// Phases may change faster than anybody needs to know.
constexpr milliseconds kEarliestBeat{100};

/// At once: another thread may be inside a collective that never ends, or hold the lock of a stream.
[[noreturn]] void end_process() {
  std::thread([] {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    ::_exit(kExitDistributed);
  }).detach();
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

/// A verdict is "RANK: WHAT".
std::string what_of(const std::string& verdict) { return verdict.substr(verdict.find(' ') + 1); }

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

Liveness::Liveness(const Launch& launch, const Rendezvous& rendezvous, milliseconds timeout, milliseconds silence)
    : launch_(launch),
      timeout_(timeout),
      beat_every_(std::clamp(std::min(timeout, silence) / 8, 2 * kEarliestBeat, milliseconds(1000))),
      silence_(std::min(timeout, silence)),
      own_store_(connect_to_store(rendezvous, silence_.load())),
      main_store_(connect_to_store(rendezvous, silence_.load())) {
  try {
    wait_for_all();
  } catch (const DistError&) {
    throw;
  } catch (const std::exception&) {
    throw DistError(fmt::format("rank 0 left while rank {} waited for all {} ranks ---> see what rank 0 says",
                                launch_.rank, launch_.world_size));
  }
  last_.assign(static_cast<size_t>(launch_.world_size), {"", Clock::now()});
  last_answer_ = last_look_ = Clock::now();
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
  if (notice_own_pause(last_look_)) {
    for (auto& [text, since] : last_) since = now;
  }
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

bool Liveness::notice_own_pause(Clock::time_point& last_round) {
  const auto now = Clock::now();
  const bool paused = now - last_round > silence_.load() / 2 + beat_every_;
  last_round = now;
  if (paused) woke_ = last_answer_ = now;
  return paused;
}

bool Liveness::was_stopped_lately() const {
  return Clock::now() - woke_.load() < silence_.load() + 4 * beat_every_ && woke_.load() != Clock::time_point();
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

/// Rank 0 leaves after the others. Those go when it has gone, or soon: a launcher then sees its exit code first.
void Liveness::say_goodbye(c10d::Store& store) const {
  const milliseconds most = 4 * beat_every_ + milliseconds(500);
  try {
    if (launch_.rank == 0) {
      if (!launch_.agent_store) wait_for_goodbyes(store, most);
      return;
    }
    store.set(key(launch_.rank), bytes_of(kBye));
    if (failed_ || launch_.agent_store) return;
    for (const auto end = Clock::now() + most; Clock::now() < end;) {
      store.check({kVerdict});
      std::this_thread::sleep_for(milliseconds(20));
    }
  } catch (const std::exception&) {
    // The store is gone already.
  }
}

void Liveness::report_own_failure(const std::string& what) {
  failed_ = true;
  std::signal(SIGTERM, SIG_IGN);
  if (claim(what)) {
    if (!what.empty()) spdlog::error("{}", what);
  } else {
    log_to_files(spdlog::level::err, what);
  }
  spdlog::default_logger()->flush();
  say_goodbye(*main_store_);
}

void Liveness::leave(c10d::Store& store, const std::string& what, bool say) {
  if (say) {
    spdlog::error("{} ---> {}", what, kRestart);
  } else {
    log_to_files(spdlog::level::err, what + " (said by another rank)");
  }
  say_goodbye(store);
  end_process();
}

/// Without a store nobody can be asked who speaks: the lowest rank first. Where a launcher ends all ranks when the
/// first one leaves, it is the only one.
void Liveness::leave_without_store() {
  std::this_thread::sleep_for(beat_every_);  // the guard may just be noticing that it was this process that slept
  if (was_stopped_lately()) {
    spdlog::warn("rank {} was stopped for long, and the others have ended meanwhile", launch_.rank);
    end_process();
  }
  std::this_thread::sleep_for(milliseconds(std::min(700 * (launch_.rank - 1), 5000)));
  say_and_end(
      fmt::format("rank 0 does not answer rank {} (host {}, phase {}): it was killed or stopped, or the network is cut",
                  launch_.rank, launch_.host, phase_.load()));
}

void Liveness::watch(std::function<bool()> is_overdue) {
  const std::lock_guard lock(watch_mutex_);
  is_overdue_ = std::move(is_overdue);
}

/// Asks without holding the lock that beats need: a GPU's driver may take its time.
void Liveness::leave_if_overdue() {
  std::string fault;
  try {
    const std::lock_guard lock(watch_mutex_);
    if (!is_overdue_ || !is_overdue_()) return;
    fault = fmt::format("a collective has not ended within {} s", timeout_.count() / 1000);
  } catch (const std::exception& e) {
    const std::string message = e.what();
    fault = "a collective failed: " + message.substr(0, message.find('\n'));
  }
  leave_after(fault);
}

void Liveness::guard_for_ever() {
  std::unique_lock lock(mutex_);
  auto last_round = Clock::now();
  while (!stopping_) {
    wake_.wait_for(lock, beat_every_, [&] { return stopping_; });
    notice_own_pause(last_round);
    lock.unlock();
    if (!failed_) leave_if_overdue();
    lock.lock();
    if (stopping_ || failed_ || Clock::now() - last_answer_.load() < silence_.load() + beat_every_) continue;
    lock.unlock();
    leave_without_store();
  }
}

Liveness::Finding Liveness::beat_once(int64_t count) {
  own_store_->set(key(launch_.rank), bytes_of(own_beat(count)));
  if (own_store_->check({kVerdict})) return {.verdict = what_of(text_of(own_store_->get(kVerdict)))};
  if (!is_watcher()) return {};
  if (own_store_->check({kHurry})) silence_ = std::min(silence_.load(), kSuspiciousSilence);
  const std::string who = silent_rank(*own_store_);
  if (who.empty()) return {};
  if (was_stopped_lately()) leave_without_store();  // no wonder: they have given this rank up
  return {.verdict = who, .say = claim_at(*own_store_, who)};
}

void Liveness::beat_for_ever() {
  std::unique_lock lock(mutex_);
  for (int64_t count = 1; !stopping_; ++count) {
    wake_.wait_for(lock, kEarliestBeat, [&] { return stopping_; });
    wake_.wait_for(lock, beat_every_ - kEarliestBeat, [&] { return stopping_ || phase_is_new_; });
    if (stopping_) return;
    phase_is_new_ = false;
    lock.unlock();
    Finding found;
    bool answered = false;
    try {
      found = beat_once(count);
      answered = true;
      last_answer_ = Clock::now();
    } catch (const std::exception&) {
      // Said below: the store is gone.
    }
    if (failed_ && (!answered || !found.verdict.empty())) return;  // the main thread leaves with its own exit code
    if (!answered) leave_without_store();
    if (!found.verdict.empty()) leave(*own_store_, found.verdict, found.say);
    lock.lock();
  }
}

void Liveness::leave_after(const std::string& reason) {
  silence_ = std::min(silence_.load(), kSuspiciousSilence);
  std::string what = fmt::format("rank {} (host {}, phase {}): {}", launch_.rank, launch_.host, phase_.load(), reason);
  try {
    main_store_->set(kHurry, bytes_of("1"));
    // The thread leaves as soon as there is a verdict, and the watcher gives one when somebody is silent. So does the
    // loss of the store.
    const std::vector<Beat> before = read_beats(*main_store_);
    std::this_thread::sleep_for(std::max(silence_.load() + 3 * beat_every_, milliseconds(1000)));
    const std::string blamed = who_is_to_blame(before, read_beats(*main_store_));
    if (!blamed.empty()) what = blamed;
  } catch (const std::exception&) {
    leave_without_store();
  }
  leave(*main_store_, what, claim(what));
}

/// From the beats at the start and at the end of a wait in which every living rank beats; empty: all are there and have
/// begun the same collectives.
std::string Liveness::who_is_to_blame(const std::vector<Beat>& before, const std::vector<Beat>& now) const {
  for (size_t rank = 0; rank < now.size(); ++rank) {
    if (now[rank].text == kBye) return fmt::format("rank {} ended before the others", rank);
    if (now[rank].text != before[rank].text) continue;
    return fmt::format("{} is not heard of any more: it was killed or stopped, or its network is cut",
                       describe(static_cast<int>(rank), now[rank]));
  }
  const auto begun = [](const Beat& a, const Beat& b) { return a.collectives < b.collectives; };
  const auto [least, most] = std::minmax_element(now.begin(), now.end(), begun);
  if (least->collectives == most->collectives) return "";
  return fmt::format("{} did not come to an exchange that the others waited in",
                     describe(static_cast<int>(least - now.begin()), *least));
}

void Liveness::finish() {
  end_threads();
  try {
    main_store_->set(key(launch_.rank), bytes_of(kBye));
    if (launch_.rank == 0) wait_for_goodbyes(*main_store_, silence_.load());
  } catch (const std::exception&) {
    // All ranks had done their work: whoever went before its goodbye leaves nothing undone.
  }
}

}  // namespace qtune
