// SIGINT, SIGTERM, SIGHUP (the terminal is gone; under nohup it stays ignored) and SIGUSR1 (Slurm's --signal, or
// through mpirun) ask the training to stop after the current step. One more SIGINT, a second or more later, ends it at
// once.
#pragma once

namespace qtune {

/// Handles these signals while it lives, and puts back what was there before.
class StopRequest {
 public:
  /// notices: says on the console that the signal has come; one rank of several does.
  explicit StopRequest(bool notices);
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  bool asked() const;
};

}  // namespace qtune
