// How far tokenizing a data file is: a line that is written over on a terminal, else a line in the log now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace qtune {

class TokenizingProgress {
 public:
  explicit TokenizingProgress(std::string file);
  ~TokenizingProgress() { finish(); }

  void update(int64_t num_samples);
  /// Takes the line away.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  std::string file_;
  bool terminal_, shown_ = false;
  Clock::time_point start_ = Clock::now(), last_ = start_;
};

}  // namespace qtune
