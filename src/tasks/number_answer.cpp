// The number in an answer to a GSM8K question, by the rules of two harnesses.
#include <cmath>
#include <cstdlib>

#include "qtune/tasks/answer_text.h"

namespace qtune {
namespace {

constexpr std::string_view kMark = "#### ";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_plain_number(char c) { return is_digit(c) || c == '.' || c == ','; }
bool is_money(char c) { return is_plain_number(c) || c == '$'; }

/// End of the run of characters of a kind that starts at `at`.
template <class Kind>
size_t run_end(std::string_view text, size_t at, Kind kind) {
  while (at < text.size() && kind(text[at])) ++at;
  return at;
}

/// End of `(-?[$0-9.,]{2,})|(-?[0-9]+)` at `at`; `at` where it does not match.
size_t flexible_end(std::string_view text, size_t at) {
  const size_t first = at + (text[at] == '-' ? 1 : 0);
  const size_t money = run_end(text, first, is_money);
  if (money - first >= 2) return money;
  const size_t digits = run_end(text, first, is_digit);
  return digits > first ? digits : at;
}

/// End of `-?\d+\.\d+|-?\d+` at `at`; `at` where it does not match.
size_t decimal_end(std::string_view text, size_t at) {
  const size_t first = at + (text[at] == '-' ? 1 : 0);
  const size_t whole = run_end(text, first, is_digit);
  if (whole == first) return at;
  if (whole == text.size() || text[whole] != '.') return whole;
  const size_t fraction = run_end(text, whole + 1, is_digit);
  return fraction > whole + 1 ? fraction : whole;
}

/// The last match; empty: none. `end_at` as above.
template <class EndAt>
std::string_view last_match(std::string_view text, EndAt end_at) {
  std::string_view last;
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_at(text, at);
    if (end > at) last = text.substr(at, end - at);
    at = end > at ? end : at + 1;
  }
  return last;
}

std::string compared_form(std::string_view text) {
  std::string out(text);
  std::erase(out, ',');
  std::erase(out, '$');
  if (const size_t mark = out.rfind(kMark); mark != std::string::npos) out.erase(0, mark + kMark.size());
  // `\.$` matches before a newline at the end, too.
  const size_t end = out.ends_with('\n') ? out.size() - 1 : out.size();
  if (out.ends_with('.')) {
    out.pop_back();
  } else if (end > 0 && out[end - 1] == '.') {
    out.erase(end - 1, 1);
  }
  return python_lower(out);
}

}  // namespace

std::string strict_number(std::string_view answer) {
  for (size_t at = answer.find(kMark); at != std::string_view::npos; at = answer.find(kMark, at + 1)) {
    const size_t first = at + kMark.size();
    const size_t digits = first + (first < answer.size() && answer[first] == '-' ? 1 : 0);
    const size_t end = run_end(answer, digits, is_plain_number);
    if (end > digits) return std::string(answer.substr(first, end - first));
  }
  return std::string(kInvalidAnswer);
}

std::string last_number(std::string_view answer) {
  const std::string_view last = last_match(answer, flexible_end);
  return std::string(last.empty() ? kInvalidAnswer : last);
}

bool same_gsm8k_answer(std::string_view prediction, std::string_view gold) {
  return compared_form(prediction) == compared_form(gold);
}

std::string opencompass_number(std::string_view answer) {
  const std::string_view last = last_match(answer.substr(0, answer.find("Question:")), decimal_end);
  return std::string(last.empty() ? "NULL" : last);
}

std::string opencompass_gold(std::string_view solution) {
  const size_t mark = solution.find(kMark);
  if (mark == std::string_view::npos) return "";
  const std::string_view behind = solution.substr(mark + kMark.size());
  std::string gold(behind.substr(0, behind.find(kMark)));
  std::erase(gold, ',');
  return gold;
}

bool same_opencompass_number(const std::string& prediction, const std::string& gold) {
  if (prediction == gold) return true;
  const std::string_view whole = python_strip(gold);
  const size_t first = !whole.empty() && (whole[0] == '-' || whole[0] == '+') ? 1 : 0;
  if (whole.size() == first || run_end(whole, first, is_digit) != whole.size()) return false;
  char* end = nullptr;
  const double predicted = std::strtod(prediction.c_str(), &end);
  if (prediction.empty() || *end != '\0') return false;
  return std::abs(predicted - std::strtod(std::string(whole).c_str(), nullptr)) < 1e-6;
}

}  // namespace qtune
