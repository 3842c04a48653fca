#include "signals.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>

#include "qtune/base/error.h"

namespace qtune {
namespace {

volatile std::sig_atomic_t stop_requests = 0;
timespec first_request;
volatile std::sig_atomic_t says_so = 0;
struct sigaction old_int, old_term, old_hup, old_usr1;

void on_signal(int signal) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (stop_requests > 0) {
    // A terminal and a launcher may both pass on one Ctrl-C.
    const long milliseconds =
        (now.tv_sec - first_request.tv_sec) * 1000 + (now.tv_nsec - first_request.tv_nsec) / 1000000;
    if (signal == SIGINT && milliseconds >= 1000) _exit(kExitInterrupted);
    return;
  }
  first_request = now;
  stop_requests = 1;
  if (says_so == 0) return;
  // Only async-signal-safe calls here: write(2), no streams.
  constexpr char text[] = "\nstopping after this step; a checkpoint will be saved (Ctrl-C again: stop at once)\n";
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text, sizeof text - 1);
}

}  // namespace

StopRequest::StopRequest(bool notices) {
  says_so = notices ? 1 : 0;
  stop_requests = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, &old_int);
  sigaction(SIGTERM, &action, &old_term);
  sigaction(SIGUSR1, &action, &old_usr1);
  sigaction(SIGHUP, &action, &old_hup);
  if (old_hup.sa_handler == SIG_IGN) sigaction(SIGHUP, &old_hup, nullptr);  // nohup
}

StopRequest::~StopRequest() {
  sigaction(SIGINT, &old_int, nullptr);
  sigaction(SIGTERM, &old_term, nullptr);
  sigaction(SIGUSR1, &old_usr1, nullptr);
  sigaction(SIGHUP, &old_hup, nullptr);
}

bool StopRequest::asked() const { return stop_requests > 0; }

}  // namespace qtune
