#pragma once

#include <string>
#include <string_view>

namespace qtune {

/// A message with words from a file of a stranger, made fit for one line: control characters as "\x0a".
std::string one_line(std::string_view message);

}  // namespace qtune
