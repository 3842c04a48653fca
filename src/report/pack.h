// Numbers and bytes in the compact forms that page/unpack.js reads.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

/// RFC 4648, with padding.
std::string base64(std::string_view bytes);

/// RFC 1950 ("deflate" of browsers' DecompressionStream). Throws: Error when zlib has no memory.
std::string deflated(std::string_view bytes);

/// Unsigned integers of `width` bytes: all lowest bytes, then all second ones, ..., in base64. Alike bytes lie
/// together, which deflate makes much of.
std::string packed_integers(std::span<const uint32_t> values, int width);

/// {"lo", "hi", "q"}: of each value 1 + its place in [lo, hi] in 65534 steps, 0 for a value that is not finite, as
/// packed_integers of two bytes. Empty, or nothing finite: lo = hi = 0.
nlohmann::ordered_json packed_reals(std::span<const double> values);

/// One bit a flag, lowest first, in base64.
std::string packed_bits(const std::vector<bool>& flags);

/// A JSON number of about six digits; null where it is not finite.
nlohmann::ordered_json short_number(double value);

}  // namespace qtune
