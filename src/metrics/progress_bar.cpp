#include "qtune/metrics/progress_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "qtune/prune/quadrant.h"

namespace qtune {
namespace {

constexpr int kLeastBar = 4, kWidestBar = 40;
constexpr const char* kDim = "2";
constexpr const char* kBold = "1";

struct QuadrantLook {
  Quadrant quadrant;
  const char* colour;  // as in docs/img/quadrants.svg
};
constexpr QuadrantLook kLooks[] = {{Quadrant::kNoise, "91"},
                                   {Quadrant::kMisconception, "93"},
                                   {Quadrant::kRedundant, "94"},
                                   {Quadrant::kCalibration, "92"},
                                   {Quadrant::kMiddle, "0"}};

/// Text that counts the cells it covers, which colour codes do not.
class Line {
 public:
  explicit Line(bool colour) : colour_(colour) {}

  void add(std::string_view text, const char* style = nullptr) { add_wide(text, static_cast<int>(text.size()), style); }
  void add_wide(std::string_view text, int cells, const char* style = nullptr) {
    const bool styled = colour_ && style != nullptr && !text.empty();
    text_ += styled ? fmt::format("\x1b[{}m{}\x1b[0m", style, text) : std::string(text);
    cells_ += cells;
  }
  void add(const Line& other) {
    text_ += other.text_;
    cells_ += other.cells_;
  }
  int cells() const { return cells_; }
  const std::string& text() const { return text_; }

 private:
  bool colour_;
  std::string text_;
  int cells_ = 0;
};

std::string repeated(std::string_view cell, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += cell;
  return text;
}

std::string grouped(double value) {
  if (!std::isfinite(value) || value < 0) return "-";
  std::string digits = fmt::format("{:.0f}", value);
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(static_cast<size_t>(i), ",");
  return digits;
}

std::string kept_text(const ProgressState& state) {
  if (!state.has_quadrants) return fmt::format("kept {}", state.kept_samples.total());
  std::string text = "kept";
  for (const auto& look : kLooks)
    text += fmt::format(" {} {}", quadrant_name(look.quadrant), state.kept_samples[look.quadrant]);
  return text;
}

Line kept_line(const ProgressState& state, bool colour) {
  Line line(colour);
  if (!state.has_quadrants) {
    line.add(kept_text(state));
    return line;
  }
  for (const auto& look : kLooks) {
    const int64_t count = state.kept_samples[look.quadrant];
    if (line.cells() > 0) line.add(" ");
    line.add(fmt::format("{} {}", quadrant_name(look.quadrant), count), count > 0 ? look.colour : kDim);
  }
  return line;
}

Line bar_of(const ProgressState& state, int cells, const Terminal& terminal) {
  const double share =
      state.total_steps > 0 ? static_cast<double>(state.step) / static_cast<double>(state.total_steps) : 0.0;
  const int filled = static_cast<int>(std::clamp(share, 0.0, 1.0) * cells);
  Line line(terminal.colour);
  line.add_wide(repeated(terminal.unicode ? "━" : "#", filled), filled, "36");
  line.add_wide(repeated(terminal.unicode ? "─" : "-", cells - filled), cells - filled, kDim);
  return line;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

int columns_of(std::FILE* stream) {
  const std::string text = environment("COLUMNS");
  int columns = 0;
  std::from_chars(text.data(), text.data() + text.size(), columns);
  if (columns > 0) return columns;
  winsize size{};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

bool is_utf8_locale() {
  // The first one that is set decides, as in setlocale.
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value = environment(name);
    if (value.empty()) continue;
    std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::tolower(c); });
    return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

}  // namespace

Terminal detect_terminal(std::FILE* stream) {
  const std::string term = environment("TERM");
  const bool draws = ::isatty(::fileno(stream)) == 1 && !term.empty() && term != "dumb";
  return {.style = draws ? ProgressStyle::kBar : ProgressStyle::kLines,
          .columns = columns_of(stream),
          .colour = draws && environment("NO_COLOR").empty(),
          .unicode = draws && is_utf8_locale()};
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e12) return "-";
  const int64_t s = std::llround(seconds);
  if (s < 3600) return fmt::format("{}:{:02}", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}d {:02}:{:02}", s / 86400, s / 3600 % 24, s / 60 % 60);
}

std::string plain_progress_line(const ProgressState& state) {
  return fmt::format("step {}/{} | loss {:.4f} | {} | {} tokens/s | {} left", state.step, state.total_steps, state.loss,
                     kept_text(state), grouped(state.tokens_per_second), format_duration(state.seconds_left));
}

std::string bar_progress_line(const ProgressState& state, const Terminal& terminal) {
  std::vector<Line> pieces;
  const auto add_piece = [&](std::string_view text, const char* style = nullptr) {
    pieces.emplace_back(terminal.colour);
    pieces.back().add(text, style);
  };
  const std::string total = std::to_string(state.total_steps);
  add_piece(fmt::format("{:>{}}/{}", state.step, total.size(), total), kBold);
  if (state.step > 0) {
    add_piece(fmt::format("loss {:.4f}", state.loss), kBold);
    pieces.push_back(kept_line(state, terminal.colour));
    add_piece(grouped(state.tokens_per_second) + " tok/s");
    add_piece(format_duration(state.seconds_left) + " left");
  }
  add_piece(fmt::format("{:<5}", state.phase), kDim);  // padded: the bar keeps its width from phase to phase

  constexpr int kGap = 2;
  const int available = terminal.columns - 1;  // a full line would make some terminals wrap
  const auto text_cells = [&] {
    int cells = -kGap;
    for (const Line& piece : pieces) cells += kGap + piece.cells();
    return cells;
  };
  if (kLeastBar + kGap + text_cells() > available) pieces.pop_back();  // the phase goes first, then the bar
  while (!pieces.empty() && text_cells() > available) pieces.pop_back();
  int bar_cells = std::min(available - kGap - text_cells(), kWidestBar);
  if (bar_cells < kLeastBar) bar_cells = 0;

  Line line = bar_of(state, bar_cells, terminal);
  for (const Line& piece : pieces) {
    line.add(line.cells() > 0 ? "  " : "");
    line.add(piece);
  }
  return line.text();
}

ProgressBar::ProgressBar(const Options& options) : ProgressBar(options, detect_terminal(options.stream)) {
  follows_size_ = true;
}

ProgressBar::ProgressBar(const Options& options, const Terminal& terminal) : options_(options), terminal_(terminal) {
  state_.step = options.first_step;
  state_.total_steps = options.total_steps;
}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::update(const StepMetrics& metrics) {
  ++steps_;
  seconds_ += metrics.seconds.total();
  tokens_ += metrics.tokens_seen;
  state_.step = metrics.step;
  state_.loss = metrics.loss;
  state_.kept_samples = metrics.kept_samples;
  state_.has_quadrants = metrics.alpha.has_value();
  state_.tokens_per_second = seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0;
  const int64_t steps_left = std::max<int64_t>(0, options_.total_steps - metrics.step);
  state_.seconds_left = seconds_ / static_cast<double>(steps_) * static_cast<double>(steps_left);
  if (terminal_.style == ProgressStyle::kBar) return draw();
  const bool is_logged = options_.logging_steps > 0 && metrics.step % options_.logging_steps == 0;
  if (finished_ || (!is_logged && metrics.step != options_.total_steps)) return;
  std::fputs((plain_progress_line(state_) + "\n").c_str(), options_.stream);
  std::fflush(options_.stream);
}

void ProgressBar::show_phase(std::string_view phase) {
  state_.phase = phase;
  if (terminal_.style == ProgressStyle::kBar) draw();
}

void ProgressBar::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", options_.stream);
  std::fflush(options_.stream);
  drawn_ = false;
}

void ProgressBar::finish() {
  if (finished_) return;
  state_.phase.clear();
  if (drawn_) {
    draw();
    std::fputs("\n", options_.stream);
    std::fflush(options_.stream);
  }
  finished_ = true;
}

void ProgressBar::draw() {
  if (finished_) return;
  if (follows_size_) terminal_.columns = columns_of(options_.stream);
  std::fputs(("\r" + bar_progress_line(state_, terminal_) + "\x1b[K").c_str(), options_.stream);
  std::fflush(options_.stream);
  drawn_ = true;
}

}  // namespace qtune
