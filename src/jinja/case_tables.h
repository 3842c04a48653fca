// Unicode properties beyond ASCII that Python's str methods and repr use.
#pragma once

#include <cstdint>
#include <span>

namespace qtune {

struct CodePointRange {
  uint32_t first, last;
};

/// Zeros fill the places that are not used.
struct CaseMapping {
  uint32_t from;
  uint32_t to[3];
};

/// All ordered by code point.
std::span<const CodePointRange> unprintable_ranges();
std::span<const CaseMapping> upper_mappings();
std::span<const CaseMapping> lower_mappings();

}  // namespace qtune
