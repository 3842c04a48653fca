// Threads of every rank: one says "I am here" once a second and hears when somebody is not; the
// other watches the first, which waits for as long as a stopped rank 0 does not answer.
//
// Keys of the store: alive/R: count, collectives begun, phase, host and pid of rank R, or "bye" after finish();
// verdict: what ended the job, written once, by whoever finds it first; hurry: an exchange has failed somewhere, so
// silence counts sooner. Rank 0 looks at all beats (where torchrun holds the store, rank 1 too); the others at the
// verdict, and at whether the store still answers.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "qtune/dist/launch.h"
#include "rendezvous.h"

namespace qtune {

/// While ranks meet, nobody watches yet, and a stopped rank 0 answers nobody: then the process ends, with exit code 5.
class MeetingDeadline {
 public:
  MeetingDeadline(const Launch& launch, std::chrono::milliseconds most);
  ~MeetingDeadline();
  MeetingDeadline(const MeetingDeadline&) = delete;
  MeetingDeadline& operator=(const MeetingDeadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable met_;
  bool over_ = false;
  std::thread thread_;
};

class Liveness {
 public:
  /// All ranks construct it at the same time; it returns when all have come. silence: that counts as death.
  /// Throws: DistError naming the ranks that did not come within `timeout`.
  Liveness(const Launch& launch, const Rendezvous& rendezvous, std::chrono::milliseconds timeout,
           std::chrono::milliseconds silence);
  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  /// Said with the next beat, which comes early then.
  void set_phase(const char* phase);
  void begin_collective() { ++collectives_; }

  /// Before this rank leaves by an exception: says `what` as an error if this rank is the first with a failure, and the
  /// others end with exit code 5. Rank 0 returns when the others know, since the store goes with it. A launcher may ask
  /// this rank to end meanwhile (SIGTERM): it does by itself.
  void report_own_failure(const std::string& what);

  /// After a collective has failed with `reason`: finds out who is to blame, says so once in the job, and leaves the
  /// process with exit code 5.
  [[noreturn]] void leave_after(const std::string& reason);

  /// Asked with each beat whether a collective of this rank takes too long; then it leaves as after a failed one.
  /// Empty: nothing is asked any more.
  void watch(std::function<bool()> is_overdue);

  /// Says goodbye and ends the thread; rank 0 waits for the others' goodbyes.
  void finish();

 private:
  struct Beat {
    std::string text;
    int64_t collectives = 0;
    std::string phase, host, pid;
  };
  void wait_for_all();
  void beat_for_ever();
  void guard_for_ever();
  void end_threads();
  std::string own_beat(int64_t count) const;
  static Beat parse(const std::string& text);
  std::string describe(int rank, const Beat& beat) const;
  std::vector<Beat> read_beats(c10d::Store& store) const;
  /// Whether this rank looks at the others' beats: rank 0, and another where the store does not end with it.
  bool is_watcher() const { return launch_.rank == 0 || (launch_.agent_store && launch_.rank == 1); }
  /// The watcher's: who has been silent for too long; empty: nobody.
  std::string silent_rank(c10d::Store& store);
  /// What a beat found: a verdict, and whether this rank is to say it.
  struct Finding {
    std::string verdict;
    bool say = false;
  };
  Finding beat_once(int64_t count);
  std::string who_is_to_blame(const std::vector<Beat>& before, const std::vector<Beat>& now) const;
  void leave_if_overdue();
  /// Called by a thread after each of its rounds, which are short. A long one: this process was stopped, so the others'
  /// silence, and the store's, count from now. True then.
  bool notice_own_pause(std::chrono::steady_clock::time_point& last_round);
  bool was_stopped_lately() const;
  /// Writes the verdict unless there is one. Whether this rank's stands.
  bool claim(const std::string& what);
  bool claim_at(c10d::Store& store, const std::string& what);
  [[noreturn]] void leave(c10d::Store& store, const std::string& what, bool say);
  void say_goodbye(c10d::Store& store) const;
  /// Rank 0: keeps the store up until the others have read the verdict.
  void wait_for_goodbyes(c10d::Store& store, std::chrono::milliseconds most) const;
  [[noreturn]] void leave_without_store();
  std::string key(int rank) const { return "alive/" + std::to_string(rank); }

  const Launch launch_;
  const std::chrono::milliseconds timeout_, beat_every_;
  std::atomic<std::chrono::milliseconds> silence_;  // that counts as death
  std::atomic<const char*> phase_{"start"};
  std::atomic<int64_t> collectives_{0};
  c10::intrusive_ptr<c10d::Store> own_store_, main_store_;                           // of the thread, of its callers
  std::vector<std::pair<std::string, std::chrono::steady_clock::time_point>> last_;  // beats and when they changed
  std::chrono::steady_clock::time_point last_look_;                                  // of the watcher at them
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::atomic<std::chrono::steady_clock::time_point> woke_{};  // after this process itself was stopped for long
  std::atomic<bool> failed_{false};                            // by an exception of this rank's own
  bool phase_is_new_ = false;
  std::mutex watch_mutex_;
  std::function<bool()> is_overdue_;
  std::atomic<std::chrono::steady_clock::time_point> last_answer_;  // of the store to the beats
  std::thread beats_, guard_;
};

}  // namespace qtune
