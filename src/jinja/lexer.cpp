#include "lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "lexer_literals.h"
#include "qtune/jinja/python_text.h"
#include "qtune/jinja/template.h"

namespace qtune {
namespace {

constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

/// LF line ends, and without the last one.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class JinjaLexer {
 public:
  explicit JinjaLexer(std::string_view source) : source_(normalized(source)) {}

  std::vector<JinjaToken> run() {
    if (source_.size() > kMaxTemplateBytes) {
      throw JinjaError(JinjaFault::kLimit, 1, fmt::format("a template of more than {} bytes", kMaxTemplateBytes));
    }
    if (!is_utf8(source_)) throw JinjaError(JinjaFault::kSyntax, 1, "expected UTF-8, found other bytes");
    while (pos_ < source_.size()) text_up_to_tag();
    add(JinjaTokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw JinjaError(JinjaFault::kSyntax, line_, message); }

  void add(JinjaTokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .line = line_, .text = std::move(text)});
  }

  bool at(std::string_view part) const { return std::string_view(source_).substr(pos_).starts_with(part); }

  /// Steps over `size` bytes and counts their lines.
  void advance(size_t size) {
    const std::string_view passed = std::string_view(source_).substr(pos_, size);
    line_ += static_cast<int>(std::count(passed.begin(), passed.end(), '\n'));
    pos_ += size;
    if (!passed.empty()) line_starting_ = passed.back() == '\n';
  }

  void advance_spaces() { advance(space_prefix(std::string_view(source_).substr(pos_))); }

  /// Matches `part` after any white space behind `pos`; 0 when it does not, else the end.
  size_t match_word(size_t pos, std::string_view word) const {
    const std::string_view all = source_;
    pos += space_prefix(all.substr(pos));
    if (!all.substr(pos).starts_with(word)) return 0;
    pos += word.size();
    return pos + space_prefix(all.substr(pos));
  }

  /// The end of "{% raw %}" at `pos`, 0 when it is something else.
  size_t raw_tag_end(size_t pos) const {
    const std::string_view all = source_;
    pos += 2;
    if (pos < all.size() && (all[pos] == '-' || all[pos] == '+')) ++pos;
    pos = match_word(pos, "raw");
    if (pos == 0) return 0;
    if (all.substr(pos).starts_with("-%}")) return pos + 3 + space_prefix(all.substr(pos + 3));
    return all.substr(pos).starts_with("%}") ? pos + 2 : 0;
  }

  /// `text` stands before a tag whose opening has `sign`: what is left of it. `line_starting_` is that of its start.
  std::string_view stripped(std::string_view text, char sign, bool is_output) const {
    if (sign == '-') return text.substr(0, text.size() - space_suffix(text));
    if (sign == '+' || is_output) return text;
    const size_t line_end = text.rfind('\n');
    const size_t line = line_end == std::string_view::npos ? 0 : line_end + 1;
    if (line == 0 && !line_starting_) return text;
    const std::string_view last = text.substr(line);
    return !last.empty() && space_prefix(last) == last.size() ? text.substr(0, line) : text;
  }

  char sign_at(size_t pos) const {
    return pos < source_.size() && (source_[pos] == '-' || source_[pos] == '+') ? source_[pos] : '\0';
  }

  void text_up_to_tag() {
    size_t begin = pos_;
    while (true) {
      begin = source_.find('{', begin);
      if (begin == std::string::npos || begin + 1 >= source_.size()) {
        add_text(std::string_view(source_).substr(pos_));
        advance(source_.size() - pos_);
        return;
      }
      const char second = source_[begin + 1];
      if (second == '{' || second == '%' || second == '#') break;
      ++begin;
    }
    const char kind = source_[begin + 1], sign = sign_at(begin + 2);
    add_text(stripped(std::string_view(source_).substr(pos_, begin - pos_), sign, kind == '{'));
    const size_t raw_end = kind == '%' ? raw_tag_end(begin) : 0;
    if (raw_end != 0) {
      advance(raw_end - pos_);
      return raw_text();
    }
    advance(begin + 2 + (sign ? 1 : 0) - pos_);
    if (kind == '#') return comment();
    add(kind == '{' ? JinjaTokenKind::kOutputBegin : JinjaTokenKind::kTagBegin, "");
    inside_tag(kind == '{');
  }

  void add_text(std::string_view text) {
    if (!text.empty()) add(JinjaTokenKind::kText, std::string(text));
  }

  void raw_text() {
    if (pos_ >= source_.size()) return;  // jinja2 lets this pass
    for (size_t end = pos_; (end = source_.find("{%", end)) != std::string::npos; end += 2) {
      const char sign = sign_at(end + 2);
      const size_t close = match_word(end + 2 + (sign ? 1 : 0), "endraw");
      if (close == 0) continue;
      const std::string_view rest = std::string_view(source_).substr(close);
      if (!rest.starts_with("-%}") && !rest.starts_with("+%}") && !rest.starts_with("%}")) continue;
      add_text(stripped(std::string_view(source_).substr(pos_, end - pos_), sign, false));
      advance(close - pos_);
      close_tag();
      return;
    }
    fail("expected endraw, found the end of the template");
  }

  void comment() {
    if (pos_ >= source_.size()) return;  // jinja2 lets this pass
    const size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) fail("expected #}, found the end of the template");
    const char sign = end > pos_ ? source_[end - 1] : '\0';
    advance(end + 2 - pos_);
    if (sign == '-') {
      advance_spaces();
    } else if (sign != '+' && at("\n")) {
      advance(1);
    }
  }

  /// At "%}", "-%}" or "+%}".
  void close_tag() {
    const char sign = source_[pos_];
    advance(sign == '%' ? 2 : 3);
    if (sign == '-') {
      advance_spaces();
    } else if (sign == '%' && at("\n")) {
      advance(1);
    }
  }

  void inside_tag(bool is_output) {
    brackets_.clear();
    while (true) {
      if (pos_ >= source_.size()) fail(is_output ? "expected }}, found the end" : "expected %}, found the end");
      if (brackets_.empty() && end_of_tag(is_output)) return;
      next_token();
    }
  }

  bool end_of_tag(bool is_output) {
    if (is_output) {
      if (!at("}}") && !at("-}}")) return false;
      add(JinjaTokenKind::kOutputEnd, "");
      const bool strip = at("-");
      advance(strip ? 3 : 2);
      if (strip) advance_spaces();
      return true;
    }
    if (!at("%}") && !at("-%}") && !at("+%}")) return false;
    add(JinjaTokenKind::kTagEnd, "");
    close_tag();
    return true;
  }

  void next_token() {
    const std::string_view rest = std::string_view(source_).substr(pos_);
    if (const size_t spaces = space_prefix(rest)) return advance(spaces);
    const char c = rest[0];
    if (c >= '0' && c <= '9') return number(rest);
    if (is_name_byte(c)) return name(rest);
    if (c == '\'' || c == '"') return string(rest);
    symbol(rest);
  }

  static bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }

  void name(std::string_view rest) {
    size_t size = 0;
    while (size < rest.size() && is_name_byte(rest[size])) ++size;
    add(JinjaTokenKind::kName, std::string(rest.substr(0, size)));
    advance(size);
  }

  void string(std::string_view rest) {
    const size_t size = jinja_string_size(rest);
    if (size == 0) fail("a string without its closing quote");
    add(JinjaTokenKind::kString, jinja_string_value(rest.substr(1, size - 2), line_));
    advance(size);
  }

  void number(std::string_view rest) {
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
    JinjaToken token{.line = line_};
    const size_t size = jinja_number(rest, after_dot, token);
    tokens_.push_back(std::move(token));
    advance(size);
  }

  void symbol(std::string_view rest) {
    static constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t size = 1;
    for (const std::string_view op : kLong) {
      if (rest.starts_with(op)) size = 2;
    }
    const std::string_view op = rest.substr(0, size);
    if (size == 1 && std::string_view("+-/*%~[](){}><=.:|,;").find(op[0]) == std::string_view::npos) {
      fail(fmt::format("unexpected character {}", python_repr(rest.substr(0, utf8_size(rest, 0)))));
    }
    if (op == "(" || op == "[" || op == "{") {
      brackets_ += op == "(" ? ')' : op == "[" ? ']' : '}';
    } else if (op == ")" || op == "]" || op == "}") {
      if (brackets_.empty()) fail(fmt::format("unexpected '{}'", op));
      if (brackets_.back() != op[0]) fail(fmt::format("unexpected '{}', expected '{}'", op, brackets_.back()));
      brackets_.pop_back();
    }
    add(JinjaTokenKind::kOperator, std::string(op));
    advance(size);
  }

  std::string source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;  // closing ones that are still to come
  std::vector<JinjaToken> tokens_;
};

}  // namespace

std::vector<JinjaToken> jinja_tokens(std::string_view source) { return JinjaLexer(source).run(); }

}  // namespace qtune
