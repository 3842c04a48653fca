// Numbers and strings as a template writes them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "lexer.h"

namespace qtune {

/// Bytes of the string literal that `text` starts with, quotes included; 0 when it does not end.
size_t jinja_string_size(std::string_view text);

/// What a string literal means; `text` is without quotes. Throws: JinjaError.
std::string jinja_string_value(std::string_view text, int line);

/// Reads the number that `text` starts with into `token`; returns its bytes. Throws: JinjaError (kUnsupported) for an
/// integer beyond 64 bits.
size_t jinja_number(std::string_view text, bool after_dot, JinjaToken& token);

}  // namespace qtune
