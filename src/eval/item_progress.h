// Progress of an evaluation, on stderr.
#pragma once

#include <chrono>
#include <string>

#include "qtune/metrics/progress_bar.h"

namespace qtune {

/// One line drawn anew on a terminal; elsewhere a plain line about every ten seconds.
class ItemProgress {
 public:
  /// `done` of `total` items were there before.
  ItemProgress(std::string task, size_t done, size_t total);
  ~ItemProgress();
  ItemProgress(const ItemProgress&) = delete;
  ItemProgress& operator=(const ItemProgress&) = delete;

  void add_one();

 private:
  void show();

  using Clock = std::chrono::steady_clock;
  std::string task_;
  size_t first_, done_, total_;
  Terminal terminal_;
  Clock::time_point start_, shown_;
  bool drawn_ = false;
};

}  // namespace qtune
