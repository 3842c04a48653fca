// What kind of character a code point is.
#pragma once

#include <cstdint>

namespace qtune {

/// Unicode's categories L and N: str.isalnum of one character in Python.
bool is_letter_or_number(uint32_t code_point);

}  // namespace qtune
