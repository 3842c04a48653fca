// Ctrl-C in a program that answers: it stops the answer, and ends the program where there is none to stop.
#pragma once

#include <optional>
#include <string>

namespace qtune {

/// While it lives, SIGINT is counted instead of ending the process. One at a time.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// Since the last forget().
  int count() const;
  void forget();
  /// Becomes readable with a SIGINT, until forget().
  int descriptor() const;
};

/// Lines of the standard input, waited for so that Ctrl-C ends the waiting.
class InputLines {
 public:
  enum class Event { kLine, kEnd, kInterrupted };

  /// Reads up to the next newline, which is not part of `line`. A last line without one counts.
  /// Throws: Error with the system's reason.
  Event next(const Interrupts& interrupts, std::string& line);

 private:
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace qtune
