// Text as Python sees it: code points, white space, repr, case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace qtune {

bool is_ascii(std::string_view text);
bool is_utf8(std::string_view text);

/// Bytes of the character at `at`; 1 for a byte that is not UTF-8.
size_t utf8_size(std::string_view text, size_t at);
uint32_t code_point_at(std::string_view text, size_t at);
void append_code_point(std::string& out, uint32_t code_point);
/// Characters.
size_t num_characters(std::string_view text);
/// Byte offset of the character with this index; at most the text's size.
size_t byte_offset(std::string_view text, size_t character);

/// str.isspace of one character.
bool is_python_space(uint32_t code_point);
/// Bytes of white space at the start and at the end.
size_t space_prefix(std::string_view text);
size_t space_suffix(std::string_view text);

/// Python's repr of a string.
std::string python_repr(std::string_view text);
/// Python's repr of a float.
std::string python_repr(double value);

/// str.upper and str.lower of one character, in UTF-8.
void append_upper(std::string& out, uint32_t code_point);
void append_lower(std::string& out, uint32_t code_point);

/// First place of `part` at or behind `from`, npos when there is none; linear in both sizes.
size_t find_text(std::string_view text, std::string_view part, size_t from = 0);
/// Last place of `part`, npos when there is none.
size_t rfind_text(std::string_view text, std::string_view part);

/// Lines as bytes [begin, end), line ends left out; `next` is the start of what follows.
struct TextLine {
  size_t begin = 0, end = 0, next = 0;
};
/// str.splitlines.
std::vector<TextLine> text_lines(std::string_view text);

}  // namespace qtune
