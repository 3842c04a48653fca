#include "lexer_literals.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "qtune/jinja/python_text.h"
#include "qtune/jinja/template.h"

namespace qtune {
namespace {

bool is_digit(char c, int base = 10) {
  if (base == 16 && ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))) return true;
  return c >= '0' && c < '0' + std::min(base, 10);
}

/// Length of digits with single underscores between them, at `at`.
size_t digits(std::string_view text, size_t at, int base = 10) {
  size_t end = at;
  while (end < text.size()) {
    if (is_digit(text[end], base)) {
      ++end;
    } else if (end > at && text[end] == '_' && end + 1 < text.size() && is_digit(text[end + 1], base)) {
      end += 2;
    } else {
      break;
    }
  }
  return end - at;
}

/// Bytes of a float at the start, 0 when it is none.
size_t float_size(std::string_view text) {
  size_t end = digits(text, 0);
  bool is_float = false;
  if (end + 1 < text.size() && text[end] == '.') {
    if (const size_t fraction = digits(text, end + 1)) {
      end += 1 + fraction;
      is_float = true;
    }
  }
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    size_t at = end + 1;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (const size_t exponent = digits(text, at)) {
      end = at + exponent;
      is_float = true;
    }
  }
  return is_float ? end : 0;
}

std::string without_underscores(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '_') out += c;
  }
  return out;
}

struct Escape {
  size_t size;  // bytes behind the backslash
  uint32_t code_point;
};

/// A numeric escape: `size` hexadecimal digits at `at`.
Escape hex_escape(std::string_view text, size_t at, size_t size, int line) {
  uint32_t value = 0;
  const std::string_view part = text.substr(std::min(at, text.size()), size);
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value, 16);
  if (error != std::errc() || end != part.data() + size || part.size() != size)
    throw JinjaError(JinjaFault::kSyntax, line, "a truncated escape in a string");
  if (value > 0x10FFFF) throw JinjaError(JinjaFault::kSyntax, line, "an escape beyond the last character");
  if (value >= 0xD800 && value <= 0xDFFF)
    throw JinjaError(JinjaFault::kUnsupported, line, "half of a surrogate pair in a string");
  return {1 + size, value};
}

Escape escape_at(std::string_view text, size_t at, int line) {
  switch (text[at]) {
    case '\\':
    case '\'':
    case '"':
      return {1, static_cast<uint32_t>(text[at])};
    case 'a':
      return {1, 7};
    case 'b':
      return {1, 8};
    case 'f':
      return {1, 12};
    case 'n':
      return {1, 10};
    case 'r':
      return {1, 13};
    case 't':
      return {1, 9};
    case 'v':
      return {1, 11};
    case 'x':
      return hex_escape(text, at + 1, 2, line);
    case 'u':
      return hex_escape(text, at + 1, 4, line);
    case 'U':
      return hex_escape(text, at + 1, 8, line);
    case 'N':
      throw JinjaError(JinjaFault::kUnsupported, line, "the escape \\N in a string");
    default:
      break;
  }
  size_t size = 0;
  uint32_t value = 0;
  for (; size < 3 && at + size < text.size() && is_digit(text[at + size], 8); ++size)
    value = value * 8 + static_cast<uint32_t>(text[at + size] - '0');
  return {size, value};
}

}  // namespace

size_t jinja_string_size(std::string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == text[0]) {
      return i + 1;
    }
  }
  return 0;
}

std::string jinja_string_value(std::string_view text, int line) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      out += text[i++];
      continue;
    }
    if (text[i + 1] == '\n') {
      i += 2;
      continue;
    }
    if (static_cast<unsigned char>(text[i + 1]) >= 0x80) {  // jinja2 escapes it before it looks for escapes
      const uint32_t c = code_point_at(text, i + 1);
      out += c < 0x100     ? fmt::format("\\x{:02x}", c)
             : c < 0x10000 ? fmt::format("\\u{:04x}", c)
                           : fmt::format("\\U{:08x}", c);
      i += 1 + utf8_size(text, i + 1);
      continue;
    }
    const Escape escape = escape_at(text, i + 1, line);
    if (escape.size == 0) {
      out += text[i++];
      continue;
    }
    append_code_point(out, escape.code_point);
    i += 1 + escape.size;
  }
  return out;
}

size_t jinja_number(std::string_view text, bool after_dot, JinjaToken& token) {
  if (const size_t size = after_dot ? 0 : float_size(text)) {
    token.kind = JinjaTokenKind::kFloat;
    const std::string plain = without_underscores(text.substr(0, size));
    const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), token.real);
    if (error != std::errc())
      throw JinjaError(JinjaFault::kUnsupported, token.line, fmt::format("the number {} (out of range)", plain));
    return size;
  }
  token.kind = JinjaTokenKind::kInteger;
  int base = 10;
  size_t size = 0;
  const char mark = text.size() > 1 && text[0] == '0' ? static_cast<char>(text[1] | 0x20) : '\0';
  const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
  const size_t first = 2 + (text.size() > 2 && text[2] == '_' ? 1 : 0);
  if (marked != 0 && digits(text, first, marked) > 0) {
    base = marked;
    size = first + digits(text, first, marked);
  } else if (text[0] == '0') {  // zeros only; what follows is another token
    for (size = 1;
         size < text.size() && (text[size] == '0' || (text[size] == '_' && text.substr(size + 1).starts_with('0')));)
      ++size;
  } else {
    size = digits(text, 0);
  }
  const std::string plain = without_underscores(text.substr(base == 10 ? 0 : 2, size - (base == 10 ? 0 : 2)));
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), token.integer, base);
  if (error != std::errc())
    throw JinjaError(JinjaFault::kUnsupported, token.line, fmt::format("the integer {} (beyond 64 bits)", plain));
  return size;
}

}  // namespace qtune
