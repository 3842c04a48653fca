#include "qtune/jinja/python_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "case_tables.h"

namespace qtune {
namespace {

unsigned char byte_at(std::string_view text, size_t at) { return static_cast<unsigned char>(text[at]); }

bool is_continuation(unsigned char c) { return (c & 0xC0) == 0x80; }

bool is_printable(uint32_t c) {
  if (c < 0x7F) return c >= 0x20;
  const auto ranges = unprintable_ranges();
  const auto found = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](uint32_t value, const CodePointRange& range) { return value < range.first; });
  return found == ranges.begin() || c > std::prev(found)->last;
}

void append_mapped(std::string& out, uint32_t c, std::span<const CaseMapping> table) {
  const auto found = std::lower_bound(table.begin(), table.end(), c,
                                      [](const CaseMapping& m, uint32_t value) { return m.from < value; });
  if (found == table.end() || found->from != c) return append_code_point(out, c);
  for (const uint32_t to : found->to) {
    if (to != 0) append_code_point(out, to);
  }
}

}  // namespace

bool is_ascii(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) >= 0x80; });
}

size_t utf8_size(std::string_view text, size_t at) {
  const unsigned char c = byte_at(text, at);
  const size_t size = c < 0xC2 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 1;
  if (at + size > text.size()) return 1;
  for (size_t i = 1; i < size; ++i) {
    if (!is_continuation(byte_at(text, at + i))) return 1;
  }
  return size;
}

uint32_t code_point_at(std::string_view text, size_t at) {
  const size_t size = utf8_size(text, at);
  const unsigned char c = byte_at(text, at);
  if (size == 1) return c;
  uint32_t value = c & (0xFFU >> (size + 1));
  for (size_t i = 1; i < size; ++i) value = (value << 6) | (byte_at(text, at + i) & 0x3FU);
  return value;
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t size = utf8_size(text, i);
    const uint32_t c = code_point_at(text, i);
    if (size == 1 && c >= 0x80) return false;
    if (size == 3 && (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF))) return false;
    if (size == 4 && (c < 0x10000 || c > 0x10FFFF)) return false;
    i += size;
  }
  return true;
}

void append_code_point(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t value) { out += static_cast<char>(value); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | (c >> 6));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

size_t num_characters(std::string_view text) {
  if (is_ascii(text)) return text.size();
  size_t count = 0;
  for (size_t i = 0; i < text.size(); i += utf8_size(text, i)) ++count;
  return count;
}

size_t byte_offset(std::string_view text, size_t character) {
  size_t at = 0;
  while (character > 0 && at < text.size()) {
    at += utf8_size(text, at);
    --character;
  }
  return at;
}

bool is_python_space(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t space_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t size = utf8_size(text, at);
    if ((size == 1 && byte_at(text, at) >= 0x80) || !is_python_space(code_point_at(text, at))) break;
    at += size;
  }
  return at;
}

size_t space_suffix(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && is_continuation(byte_at(text, begin))) --begin;
    const bool whole = utf8_size(text, begin) == end - begin;
    if (!whole || (end - begin == 1 && byte_at(text, begin) >= 0x80)) break;
    if (!is_python_space(code_point_at(text, begin))) break;
    end = begin;
  }
  return text.size() - end;
}

std::string python_repr(std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos || text.find('"') != std::string_view::npos;
  const char quote = single ? '\'' : '"';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const size_t size = utf8_size(text, i);
    const uint32_t c = code_point_at(text, i);
    if (c == '\\' || c == static_cast<uint32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c)) {
      out += text.substr(i, size);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", c);
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", c);
    } else {
      out += fmt::format("\\U{:08x}", c);
    }
    i += size;
  }
  return out + quote;
}

std::string python_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  std::string out;
  if (shortest[0] == '-') {
    out = "-";
    shortest.remove_prefix(1);
  }
  const size_t mark = shortest.find('e');
  int exponent = 0;
  const char* digits_at = shortest.data() + mark + 1;
  std::from_chars(*digits_at == '+' ? digits_at + 1 : digits_at, shortest.data() + shortest.size(), exponent);
  std::string digits(1, shortest[0]);
  if (mark > 2) digits += shortest.substr(2, mark - 2);
  const int size = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (size > 1) out += "." + digits.substr(1);
    return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (exponent + 1 >= size) return out + digits + std::string(static_cast<size_t>(exponent + 1 - size), '0') + ".0";
  return out + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

void append_upper(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  } else {
    append_mapped(out, c, upper_mappings());
  }
}

void append_lower(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  } else {
    append_mapped(out, c, lower_mappings());
  }
}

size_t find_text(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? static_cast<size_t>(static_cast<const char*>(found) - text.data()) : std::string_view::npos;
}

size_t rfind_text(std::string_view text, std::string_view part) {
  if (part.size() > text.size()) return std::string_view::npos;
  const std::string back(text.rbegin(), text.rend()), part_back(part.rbegin(), part.rend());
  const size_t at = find_text(back, part_back);
  return at == std::string_view::npos ? at : text.size() - at - part.size();
}

std::vector<TextLine> text_lines(std::string_view text) {
  std::vector<TextLine> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t size = utf8_size(text, i);
    const uint32_t c = code_point_at(text, i);
    const bool ends =
        (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || (size > 1 && (c == 0x85 || c == 0x2028 || c == 0x2029));
    size_t next = i + size;
    if (c == '\r' && next < text.size() && text[next] == '\n') ++next;
    if (ends) {
      lines.push_back({begin, i, next});
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) lines.push_back({begin, text.size(), text.size()});
  return lines;
}

}  // namespace qtune
