// What a tokenizer's files may ask for: memory and time stay in proportion to the files and the texts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tokenizer_spec.h"

namespace qtune {

/// Ids of a vocabulary of `num_tokens` are below this. Real ones have gaps, but a table by id has to stay small.
uint64_t token_id_limit(size_t num_tokens);

/// Throws: Error naming the section when its steps are many, or could make a text many times longer.
void check_steps(const TokenizerSpec& spec);

}  // namespace qtune
