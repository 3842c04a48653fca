#include "qtune/tasks/math_answer.h"

#include <algorithm>
#include <vector>

#include "qtune/jinja/python_text.h"

namespace qtune {
namespace {

// Rules count characters, so they work on code points.
using Text = std::u32string;

/// A rule of the original fails on such a text (a Python exception there).
struct CannotNormalize {};

constexpr size_t kMaxIntDigits = 4300;  // of Python's int()

Text to_text(std::string_view utf8) {
  Text text;
  for (size_t at = 0; at < utf8.size(); at += utf8_size(utf8, at)) {
    text += static_cast<char32_t>(code_point_at(utf8, at));
  }
  return text;
}

Text replaced(const Text& text, const Text& from, const Text& to) {
  Text out;
  size_t at = 0;
  for (size_t found = text.find(from); found != Text::npos; found = text.find(from, at)) {
    out.append(text, at, found - at).append(to);
    at = found + from.size();
  }
  return out.append(text, at, Text::npos);
}

std::vector<Text> split(const Text& text, const Text& by) {
  std::vector<Text> parts;
  size_t at = 0;
  for (size_t found = text.find(by); found != Text::npos; found = text.find(by, at)) {
    parts.push_back(text.substr(at, found - at));
    at = found + by.size();
  }
  parts.push_back(text.substr(at));
  return parts;
}

Text braced(char32_t c) { return Text(U"{") + c + U"}"; }

Text without_units(const Text& text) {
  const std::vector<Text> parts = split(text, U"\\text{ ");
  if (parts.size() > 2) throw CannotNormalize();
  return parts[0];
}

Text without_variable(const Text& text) {
  const std::vector<Text> sides = split(text, U"=");
  return sides.size() == 2 && sides[0].size() <= 2 ? sides[1] : text;
}

/// \sqrt3 -> \sqrt{3}
Text with_root_braces(const Text& text) {
  const std::vector<Text> parts = split(text, U"\\sqrt");
  Text out = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i].empty()) throw CannotNormalize();
    out += U"\\sqrt";
    out += parts[i][0] == U'{' ? parts[i] : braced(parts[i][0]) + parts[i].substr(1);
  }
  return out;
}

/// \frac12 -> \frac{1}{2}, \frac1{72} -> \frac{1}{72}
Text with_fraction_braces(const Text& text) {
  const std::vector<Text> parts = split(text, U"\\frac");
  Text out = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    const Text& part = parts[i];
    if (part.empty()) throw CannotNormalize();
    out += U"\\frac";
    if (part[0] == U'{') {
      out += part;
      continue;
    }
    if (part.size() < 2) return text;
    out += braced(part[0]);
    out += part[1] == U'{' ? part.substr(1) : braced(part[1]) + part.substr(2);
  }
  return out;
}

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

/// Whether Python's int() takes it, ASCII alone. The text has no spaces.
bool is_python_int(Text text) {
  const auto space = [](char32_t c) { return is_python_space(static_cast<uint32_t>(c)); };
  while (!text.empty() && space(text.front())) text.erase(0, 1);
  while (!text.empty() && space(text.back())) text.pop_back();
  if (!text.empty() && (text[0] == U'-' || text[0] == U'+')) text.erase(0, 1);
  if (text.empty() || !is_digit(text.front()) || !is_digit(text.back())) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (is_digit(text[i])) continue;
    if (text[i] != U'_' || text[i + 1] == U'_') return false;
  }
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), is_digit)) <= kMaxIntDigits;
}

/// As str(int(text)) writes it.
bool is_plain_int(const Text& text) {
  const Text digits = text.starts_with(U"-") ? text.substr(1) : text;
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return false;
  return digits.size() == 1 ? text != U"-0" : digits[0] != U'0';
}

/// a/b -> \frac{a}{b} for whole numbers
Text with_slash_as_fraction(const Text& text) {
  const std::vector<Text> parts = split(text, U"/");
  if (parts.size() != 2) return text;
  if (!is_python_int(parts[0]) || !is_python_int(parts[1])) throw CannotNormalize();
  if (!is_plain_int(parts[0]) || !is_plain_int(parts[1])) return text;
  return U"\\frac{" + parts[0] + U"}{" + parts[1] + U"}";
}

Text normalized(Text text) {
  const std::pair<Text, Text> kReplacements[] = {
      {U"\n", U""},     {U"\\!", U""},     {U"\\\\", U"\\"},    {U"tfrac", U"frac"}, {U"dfrac", U"frac"},
      {U"\\left", U""}, {U"\\right", U""}, {U"^{\\circ}", U""}, {U"^\\circ", U""},   {U"\\$", U""},
  };
  for (const auto& [from, to] : kReplacements) text = replaced(text, from, to);
  text = without_units(text);
  text = replaced(text, U"\\%", U"");
  text = replaced(replaced(text, U" .", U" 0."), U"{.", U"{0.");
  if (text.empty()) return text;
  if (text[0] == U'.') text.insert(0, U"0");
  text = with_root_braces(without_variable(text));
  text = with_fraction_braces(replaced(text, U" ", U""));
  if (text == U"0.5") text = U"\\frac{1}{2}";
  return with_slash_as_fraction(text);
}

}  // namespace

std::optional<std::string> last_boxed_answer(std::string_view solution) {
  constexpr std::string_view kSpaced = "\\boxed ", kBraced = "\\boxed{";
  if (const size_t at = solution.rfind(kSpaced); at != std::string_view::npos) {
    const std::string_view behind = solution.substr(at + kSpaced.size());
    return std::string(behind.substr(0, behind.find('$')));
  }
  const size_t begin = solution.rfind("\\boxed");
  if (begin == std::string_view::npos || !solution.substr(begin).starts_with(kBraced)) return std::nullopt;
  int64_t open = 0;
  for (size_t i = begin; i < solution.size(); ++i) {
    if (solution[i] == '{') ++open;
    if (solution[i] == '}' && --open == 0) {
      return std::string(solution.substr(begin + kBraced.size(), i - begin - kBraced.size()));
    }
  }
  return std::nullopt;
}

std::string_view dollar_answer(std::string_view text) {
  const size_t first = text.find('$'), last = text.rfind('$');
  return first == last ? text : text.substr(first + 1, last - first - 1);
}

bool same_math_answer(std::string_view a, std::string_view b) {
  try {
    return normalized(to_text(a)) == normalized(to_text(b));
  } catch (const CannotNormalize&) {
    return a == b;
  }
}

}  // namespace qtune
