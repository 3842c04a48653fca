// Ctrl-C in a program that writes large files: it ends without leaving a part of one.
#pragma once

namespace qtune {

/// While it lives, SIGINT, SIGTERM and SIGHUP (the terminal is gone; under nohup it stays ignored) no longer end the
/// process, but AtomicFileWriter throws at its next piece. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
};

/// Throws: Error with kExitInterrupted when a signal came to the StopSignals that lives.
void throw_if_stopped();

}  // namespace qtune
