#include "qtune/metrics/progress_bar.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>

#include "qtune/base/file.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Sets environment variables for one test (nullptr: not set).
class Environment {
 public:
  void set(const char* name, const char* value) {
    const char* old = std::getenv(name);
    saved_.push_back({name, old != nullptr ? std::optional<std::string>(old) : std::nullopt});
    value != nullptr ? ::setenv(name, value, 1) : ::unsetenv(name);
  }
  ~Environment() {
    for (auto it = saved_.rbegin(); it != saved_.rend(); ++it)
      it->second ? ::setenv(it->first, it->second->c_str(), 1) : ::unsetenv(it->first);
  }

 private:
  std::vector<std::pair<const char*, std::optional<std::string>>> saved_;
};

/// A real pseudo-terminal of the system.
class PseudoTerminal {
 public:
  explicit PseudoTerminal(unsigned short columns) : master_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0)
      throw std::runtime_error("no pseudo-terminal");
    stream_ = std::fopen(::ptsname(master_), "r+");
    if (stream_ == nullptr) throw std::runtime_error("no pseudo-terminal");
    const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ::ioctl(::fileno(stream_), TIOCSWINSZ, &size);
  }
  ~PseudoTerminal() {
    std::fclose(stream_);
    ::close(master_);
  }
  std::FILE* stream() const { return stream_; }
  std::string output() const {
    std::string text;
    char block[4096];
    for (pollfd ready{.fd = master_, .events = POLLIN, .revents = 0}; ::poll(&ready, 1, 50) == 1;) {
      const ssize_t n = ::read(master_, block, sizeof block);
      if (n <= 0) break;
      text.append(block, static_cast<size_t>(n));
    }
    return text;
  }

 private:
  int master_;
  std::FILE* stream_;
};

std::unique_ptr<Environment> plain_environment() {
  auto environment = std::make_unique<Environment>();
  environment->set("TERM", "xterm");
  for (const char* name : {"COLUMNS", "NO_COLOR", "LC_ALL", "LC_CTYPE"}) environment->set(name, nullptr);
  environment->set("LANG", "C.UTF-8");
  return environment;
}

ProgressState state_at_12() {
  ProgressState state{.step = 12, .total_steps = 48, .loss = 1.23456, .has_quadrants = true};
  state.kept_samples[Quadrant::kMisconception] = 3;
  state.kept_samples[Quadrant::kCalibration] = 1;
  state.tokens_per_second = 1234.4;
  state.seconds_left = 151;
  return state;
}

StepMetrics metrics_at(int64_t step) {
  StepMetrics m{.step = step, .loss = 2.0, .tokens_seen = 500};
  m.kept_samples[Quadrant::kMisconception] = 4;
  m.alpha = 0.3;
  m.seconds = {.score = 1, .train = 1};
  return m;
}

TEST(FormatDuration, GrowsFromMinutesToDays) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(125.4), "2:05");
  EXPECT_EQ(format_duration(3599.6), "1:00:00");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600 + 300), "3d 04:05");
  EXPECT_EQ(format_duration(-1), "-");
  EXPECT_EQ(format_duration(std::nan("")), "-");
}

TEST(ProgressLine, PlainLineHasAllParts) {
  EXPECT_EQ(plain_progress_line(state_at_12()),
            "step 12/48 | loss 1.2346 | kept Q1 0 Q2 3 Q3 0 Q4 1 mid 0 | 1,234 tokens/s | 2:31 left");
}

TEST(ProgressLine, WithoutQuadrantsTheKeptSamplesAreOneNumber) {
  ProgressState state = state_at_12();
  state.has_quadrants = false;
  EXPECT_THAT(plain_progress_line(state), HasSubstr("| kept 4 |"));
}

TEST(ProgressLine, BarShowsTheShareThatIsDone) {
  EXPECT_EQ(bar_progress_line(state_at_12(), {.columns = 80}),
            "##------  12/48  loss 1.2346  Q1 0 Q2 3 Q3 0 Q4 1 mid 0  1,234 tok/s  2:31 left");
  EXPECT_THAT(bar_progress_line(state_at_12(), {.columns = 103, .unicode = true}),
              HasSubstr("━━━━━━──────────────────  12/48"));
}

TEST(ProgressLine, NeverFillsTheLastColumn) {
  for (int columns = 0; columns < 200; ++columns)
    EXPECT_LT(static_cast<int>(bar_progress_line(state_at_12(), {.columns = columns}).size()), std::max(columns, 1));
}

TEST(ProgressLine, NarrowTerminalsLoseThePhaseThenTheBarThenTheRightEnd) {
  ProgressState state = state_at_12();
  state.phase = "train";
  EXPECT_THAT(bar_progress_line(state, {.columns = 90}), HasSubstr("left  train"));
  EXPECT_THAT(bar_progress_line(state, {.columns = 80}), testing::EndsWith("2:31 left"));
  EXPECT_EQ(bar_progress_line(state, {.columns = 72}),
            "12/48  loss 1.2346  Q1 0 Q2 3 Q3 0 Q4 1 mid 0  1,234 tok/s  2:31 left");
  EXPECT_EQ(bar_progress_line(state, {.columns = 26}), "#----  12/48  loss 1.2346");
  EXPECT_EQ(bar_progress_line(state, {.columns = 8}), "12/48");
  EXPECT_EQ(bar_progress_line(state, {.columns = 2}), "");
}

TEST(ProgressLine, ColoursMarkTheQuadrantsThatHoldSamples) {
  const std::string line = bar_progress_line(state_at_12(), {.columns = 100, .colour = true});
  EXPECT_THAT(line, HasSubstr("\x1b[93mQ2 3\x1b[0m"));
  EXPECT_THAT(line, HasSubstr("\x1b[2mQ1 0\x1b[0m"));
}

TEST(ProgressBar, WritesPlainLinesToAFileAtLoggingSteps) {
  const TempDir folder;
  std::FILE* file = std::fopen((folder / "log").c_str(), "w");
  {
    ProgressBar bar({.total_steps = 5, .logging_steps = 2, .stream = file});
    for (int64_t step = 1; step <= 5; ++step) {
      bar.show_phase("score");
      bar.update(metrics_at(step));
    }
  }
  std::fclose(file);
  EXPECT_EQ(read_file(folder / "log"),
            "step 2/5 | loss 2.0000 | kept Q1 0 Q2 4 Q3 0 Q4 0 mid 0 | 250 tokens/s | 0:06 left\n"
            "step 4/5 | loss 2.0000 | kept Q1 0 Q2 4 Q3 0 Q4 0 mid 0 | 250 tokens/s | 0:02 left\n"
            "step 5/5 | loss 2.0000 | kept Q1 0 Q2 4 Q3 0 Q4 0 mid 0 | 250 tokens/s | 0:00 left\n");
}

TEST(ProgressBar, RedrawsOneLineOnATerminal) {
  const auto environment = plain_environment();
  const PseudoTerminal terminal(90);
  ProgressBar bar({.total_steps = 2, .stream = terminal.stream()});
  bar.show_phase("score");
  bar.update(metrics_at(1));
  bar.update(metrics_at(2));
  const std::string drawn = terminal.output();
  EXPECT_EQ(std::count(drawn.begin(), drawn.end(), '\n'), 0);
  EXPECT_THAT(drawn, HasSubstr("score"));
  EXPECT_THAT(drawn, HasSubstr("\x1b[93mQ2 4"));
  EXPECT_THAT(drawn, HasSubstr("━"));
  bar.clear();
  EXPECT_EQ(terminal.output(), "\r\x1b[K");
  bar.update(metrics_at(2));
  bar.finish();
  const std::string last = terminal.output();
  EXPECT_EQ(last.substr(last.size() - 2), "\r\n");
  bar.update(metrics_at(2));
  EXPECT_EQ(terminal.output(), "");
}

TEST(ProgressBar, ResumedRunDoesNotCountEarlierSteps) {
  const TempDir folder;
  std::FILE* file = std::fopen((folder / "log").c_str(), "w");
  {
    ProgressBar bar({.total_steps = 104, .first_step = 100, .stream = file});
    bar.update(metrics_at(101));
  }
  std::fclose(file);
  EXPECT_THAT(read_file(folder / "log"), HasSubstr("250 tokens/s | 0:06 left"));
}

TEST(DetectTerminal, HonoursTheEnvironment) {
  const auto environment = plain_environment();
  const PseudoTerminal pty(123);
  Terminal terminal = detect_terminal(pty.stream());
  EXPECT_EQ(terminal.style, ProgressStyle::kBar);
  EXPECT_EQ(terminal.columns, 123);
  EXPECT_TRUE(terminal.colour);
  EXPECT_TRUE(terminal.unicode);
  environment->set("COLUMNS", "55");
  environment->set("NO_COLOR", "1");
  environment->set("LC_ALL", "C");
  terminal = detect_terminal(pty.stream());
  EXPECT_EQ(terminal.style, ProgressStyle::kBar);
  EXPECT_EQ(terminal.columns, 55);
  EXPECT_FALSE(terminal.colour);
  EXPECT_FALSE(terminal.unicode);
  environment->set("TERM", "dumb");
  EXPECT_EQ(detect_terminal(pty.stream()).style, ProgressStyle::kLines);
}

TEST(DetectTerminal, FileIsNoTerminal) {
  const auto environment = plain_environment();
  const TempDir folder;
  std::FILE* file = std::fopen((folder / "log").c_str(), "w");
  EXPECT_EQ(detect_terminal(file).style, ProgressStyle::kLines);
  std::fclose(file);
}

}  // namespace
}  // namespace qtune
