#include "tokenizing_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "qtune/base/log.h"

namespace qtune {
namespace {

constexpr std::chrono::milliseconds kEveryOnTerminal{200};
constexpr std::chrono::seconds kEveryInLog{30};

}  // namespace

TokenizingProgress::TokenizingProgress(std::string file)
    : file_(std::move(file)), terminal_(::isatty(STDERR_FILENO) == 1) {}

void TokenizingProgress::update(int64_t num_samples) {
  const Clock::time_point now = Clock::now();
  if (now - last_ < (terminal_ ? Clock::duration(kEveryOnTerminal) : Clock::duration(kEveryInLog))) return;
  last_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string text = fmt::format("tokenizing {}: {} samples, {:.0f} a second", file_, num_samples,
                                       static_cast<double>(num_samples) / seconds);
  if (!terminal_) return spdlog::info("{}", text);
  fmt::print(stderr, "\r\x1b[K{}", text);
  std::fflush(stderr);
  shown_ = true;
}

void TokenizingProgress::finish() {
  if (std::exchange(shown_, false)) fmt::print(stderr, "\r\x1b[K");
}

}  // namespace qtune
