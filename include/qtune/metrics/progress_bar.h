// What a person sees of a running training, on stderr.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "qtune/metrics/step_metrics.h"

namespace qtune {

enum class ProgressStyle {
  kLines,  // a plain line each logging_steps
  kBar,    // one line, drawn anew
};

/// How a terminal is written to.
struct Terminal {
  ProgressStyle style = ProgressStyle::kLines;
  int columns = 80;
  bool colour = false;
  bool unicode = false;
};

/// What `stream` is: a bar on a terminal unless TERM is dumb; colours unless NO_COLOR is set; columns from COLUMNS,
/// else from the terminal; block characters in a UTF-8 locale.
Terminal detect_terminal(std::FILE* stream);

/// What the progress line shows.
struct ProgressState {
  int64_t step = 0, total_steps = 0;
  double loss = 0;
  QuadrantCounts kept_samples;
  bool has_quadrants = false;  // false: the kept samples are shown as one number
  double tokens_per_second = 0;
  double seconds_left = 0;
  std::string phase;  // what is going on now; shown by bars only, may be empty
};

/// "2:05", "1:02:03", "3d 04:05". Not finite or negative: "-".
std::string format_duration(double seconds);

/// "step 3/48 | loss 1.2345 | kept Q1 0 Q2 3 Q3 0 Q4 1 mid 0 | 1,234 tokens/s | 2:05 left"
std::string plain_progress_line(const ProgressState& state);

/// One line of at most terminal.columns - 1 cells: bar, step, loss, kept samples, speed, time left, phase. What does
/// not fit is left out: first the phase, then the bar (which shrinks before), then the others from the right end.
std::string bar_progress_line(const ProgressState& state, const Terminal& terminal);

/// Progress of a training, on a stream. Speed and time left are means over the steps this object has seen, so that a
/// resumed run does not count what was done before.
class ProgressBar {
 public:
  struct Options {
    int64_t total_steps = 0;
    int64_t first_step = 0;  // steps done before (a resumed run)
    int64_t logging_steps = 1;
    std::FILE* stream = stderr;
  };
  explicit ProgressBar(const Options& options);
  ProgressBar(const Options& options, const Terminal& terminal);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// A step is done.
  void update(const StepMetrics& metrics);

  const ProgressState& state() const { return state_; }

  /// A part of a step, or an evaluation, begins: "score", "train", "eval". Plain lines do not show it.
  void show_phase(std::string_view phase);

  /// Takes the bar away, so that another message can be printed; the next update draws it again.
  void clear();

  /// Leaves the last state standing, on a line of its own. Nothing is drawn after it.
  void finish();

 private:
  void draw();

  Options options_;
  Terminal terminal_;
  ProgressState state_;
  double seconds_ = 0;
  int64_t tokens_ = 0, steps_ = 0;
  bool follows_size_ = false;  // of a terminal that may be resized
  bool drawn_ = false, finished_ = false;
};

}  // namespace qtune
