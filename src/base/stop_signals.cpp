#include "qtune/base/stop_signals.h"

#include <csignal>

#include "qtune/base/error.h"

namespace qtune {
namespace {

volatile std::sig_atomic_t stopped = 0;
struct sigaction old_int, old_term, old_hup;

void on_signal(int) { stopped = 1; }

}  // namespace

StopSignals::StopSignals() {
  stopped = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;  // no SA_RESTART: waiting for a pipe's reader ends, too
  sigaction(SIGINT, &action, &old_int);
  sigaction(SIGTERM, &action, &old_term);
  sigaction(SIGHUP, &action, &old_hup);
  if (old_hup.sa_handler == SIG_IGN) sigaction(SIGHUP, &old_hup, nullptr);  // nohup
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &old_int, nullptr);
  sigaction(SIGTERM, &old_term, nullptr);
  sigaction(SIGHUP, &old_hup, nullptr);
  stopped = 0;
}

void throw_if_stopped() {
  if (stopped != 0) throw Error("interrupted", kExitInterrupted);
}

}  // namespace qtune
