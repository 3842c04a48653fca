// The replacement table of a sentencepiece model (its `precompiled_charsmap`).
#pragma once

#include <string_view>

namespace qtune {

/// Walks all that the library could reach in the table's double-array trie and in its texts.
/// Empty: fine, there are no replacements. Throws: Error when a step would leave the table.
void check_charsmap(std::string_view charsmap);

}  // namespace qtune
