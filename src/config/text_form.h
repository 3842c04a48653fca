// Texts and numbers as YAML writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace qtune {

/// The text itself where YAML reads it back as that text, else in double quotes.
std::string quoted_for_yaml(std::string_view text);

/// "12", "1e3", "32.0": only whole numbers.
std::optional<int64_t> parse_whole_number(std::string_view text);

/// "0.1", "1e-4", "+3"; only finite numbers.
std::optional<double> parse_number(std::string_view text);

/// Where the first byte that is no UTF-8 lies; npos where all are.
size_t first_byte_not_utf8(std::string_view text);

/// true/false, yes/no, on/off in YAML's three spellings (true, True, TRUE).
std::optional<bool> parse_truth(std::string_view text);

}  // namespace qtune
