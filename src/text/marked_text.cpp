// Spans of text into lines with marks: one below the other, or in two columns.
#include <fmt/format.h>

#include <algorithm>

#include "display_width.h"
#include "qtune/text/sample_view.h"
#include "unicode.h"

namespace qtune {
namespace {

constexpr std::string_view kOpen = "⟦", kClose = "⟧", kLineEnd = "↵", kColumnBorder = " │ ";
constexpr int kBorderCells = 3, kTab = 4, kLeastColumn = 10;

/// Parameters of the ANSI sequence that turns a look on; "": none.
std::string_view ansi_style(const TextSpan& span) {
  if (span.note) return "2";
  if (span.special) return span.trained ? "32;7" : "2;7";
  return span.trained ? "32" : "";
}

struct Line {
  std::string text;
  int cells = 0;
};

/// Fills lines of at most `columns` cells (0: any length); each turns its colours off at its end.
class LineWriter {
 public:
  explicit LineWriter(int columns) : columns_(columns) {}

  void add(std::string_view text, std::string_view style) {
    for (size_t at = 0; at < text.size();) {
      const auto [value, length] = code_point_at(text.data() + at);
      add_character(value, text.substr(at, length), style);
      at += length;
    }
  }

  std::vector<Line> finish() {
    end_line();
    return std::move(lines_);
  }

 private:
  void add_character(uint32_t value, std::string_view bytes, std::string_view style) {
    if (value == '\n') return end_line();
    if (value == '\t' && columns_ > 0) {
      for (int k = line_.cells % kTab; k < kTab; ++k) put(" ", 1, style);
    } else {
      put(bytes, widths_.of(value), style);
    }
  }

  void put(std::string_view bytes, int cells, std::string_view style) {
    if (columns_ > 0 && line_.cells > 0 && line_.cells + cells > columns_) end_line();
    set_style(style);
    line_.text += bytes;
    line_.cells += cells;
  }

  void set_style(std::string_view style) {
    if (style == style_) return;
    if (!style_.empty()) line_.text += "\x1b[0m";
    if (!style.empty()) line_.text += fmt::format("\x1b[{}m", style);
    style_ = style;
  }

  void end_line() {
    set_style("");
    lines_.push_back(std::move(line_));
    line_ = {};
  }

  const int columns_;
  const DisplayWidths widths_;
  std::vector<Line> lines_;
  Line line_;
  std::string_view style_;
};

void add_bracketed(std::span<const TextSpan> spans, LineWriter& writer) {
  bool open = false;
  for (const TextSpan& span : spans) {
    if (span.trained != open) writer.add(open ? kClose : kOpen, "");
    open = span.trained;
    writer.add(span.text, "");
  }
  if (open) writer.add(kClose, "");
}

/// A trained line end could not be told from another: it gets a sign.
void add_coloured(const TextSpan& span, LineWriter& writer) {
  const std::string_view style = ansi_style(span);
  if (!span.trained || span.note) return writer.add(span.text, style);
  const std::string_view text = span.text;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    writer.add(text.substr(begin, end - begin), style);
    if (end < text.size()) {
      writer.add(kLineEnd, style);
      writer.add("\n", "");
    }
    begin = end + 1;
  }
}

std::vector<Line> lines_of(std::span<const TextSpan> spans, int columns, MarkStyle style) {
  LineWriter writer(columns);
  if (style == MarkStyle::kBrackets) {
    add_bracketed(spans, writer);
  } else {
    for (const TextSpan& span : spans) add_coloured(span, writer);
  }
  return writer.finish();
}

std::vector<Line> lines_of(const TextColumn& column, int columns, MarkStyle style) {
  std::vector<Line> lines = lines_of(std::vector<TextSpan>{{.text = column.heading, .note = true}}, columns, style);
  std::vector<Line> text = lines_of(column.spans, columns, style);
  if (text.back().text.empty()) text.pop_back();
  lines.insert(lines.end(), std::make_move_iterator(text.begin()), std::make_move_iterator(text.end()));
  return lines;
}

}  // namespace

std::string marked_text(std::span<const TextSpan> spans, MarkStyle style) {
  const std::vector<Line> lines = lines_of(spans, 0, style);
  std::string text = lines.front().text;
  for (size_t i = 1; i < lines.size(); ++i) text += '\n' + lines[i].text;
  return text;
}

std::string marked_text(const TokenizedSample& sample, const DecodeIds& decode, MarkStyle style) {
  return marked_text(sample_spans(sample, {.decode = decode}), style);
}

std::string side_by_side(const TextColumn& left, const TextColumn& right, int columns, MarkStyle style) {
  const int width = std::max(kLeastColumn, (columns - 1 - kBorderCells) / 2);
  const std::vector<Line> left_lines = lines_of(left, width, style), right_lines = lines_of(right, width, style);
  std::string text;
  for (size_t i = 0; i < std::max(left_lines.size(), right_lines.size()); ++i) {
    const Line line = i < left_lines.size() ? left_lines[i] : Line{};
    text += line.text + std::string(static_cast<size_t>(std::max(0, width - line.cells)), ' ');
    text += kColumnBorder;
    if (i < right_lines.size()) text += right_lines[i].text;
    text += '\n';
  }
  return text;
}

}  // namespace qtune
