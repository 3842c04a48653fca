#include "item_progress.h"

#include <fmt/format.h>

namespace qtune {
namespace {

constexpr double kSecondsBetweenLines = 10, kSecondsBetweenDrawings = 0.1;

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

ItemProgress::ItemProgress(std::string task, size_t done, size_t total)
    : task_(std::move(task)),
      first_(done),
      done_(done),
      total_(total),
      terminal_(detect_terminal(stderr)),
      start_(Clock::now()),
      shown_(start_) {}

ItemProgress::~ItemProgress() {
  if (drawn_) std::fputc('\n', stderr);
}

void ItemProgress::add_one() {
  ++done_;
  const bool bar = terminal_.style == ProgressStyle::kBar;
  const double since = seconds_between(shown_, Clock::now());
  if (since >= (bar ? kSecondsBetweenDrawings : kSecondsBetweenLines) || (bar && done_ == total_)) show();
}

void ItemProgress::show() {
  shown_ = Clock::now();
  const double each = seconds_between(start_, shown_) / static_cast<double>(done_ - first_);
  std::string line = fmt::format("{} {}/{} | {:.2f} items/s | {} left", task_, done_, total_, 1 / each,
                                 format_duration(each * static_cast<double>(total_ - done_)));
  if (terminal_.style == ProgressStyle::kBar) {
    line.resize(std::min(line.size(), static_cast<size_t>(std::max(terminal_.columns - 1, 1))));
    fmt::print(stderr, "\r{}\x1b[K", line);
    std::fflush(stderr);
    drawn_ = true;
  } else {
    fmt::print(stderr, "{}\n", line);
  }
}

}  // namespace qtune
