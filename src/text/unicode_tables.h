// Tables of Unicode properties as Hugging Face's tokenizers library knows them (tools/make_unicode_tables.py).
#pragma once

#include <cstddef>
#include <cstdint>

namespace qtune {

// Pairs (first, last), ascending.
extern const uint32_t kLetterRanges[], kNumberRanges[], kSpaceRanges[], kNumericRanges[], kWordRanges[];
extern const size_t kLetterRangesSize, kNumberRangesSize, kSpaceRangesSize, kNumericRangesSize, kWordRangesSize;

// Triples (composed, first, second). Hangul syllables are not listed.
extern const uint32_t kCompositions[];
extern const size_t kCompositionsSize;
// Triples (code point, first, second or 0) of what decomposes but is never composed again.
extern const uint32_t kDecompositions[];
extern const size_t kDecompositionsSize;
// Triples (first, last, canonical combining class).
extern const uint32_t kCombiningClasses[];
extern const size_t kCombiningClassesSize;

}  // namespace qtune
