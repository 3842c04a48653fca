// Decoders: tokens to text.
#pragma once

#include <string>
#include <vector>

#include "tokenizer_spec.h"

namespace qtune {

/// Bytes that a token of the byte-level alphabet spells; the token itself where it holds any other character.
std::string byte_level_bytes(std::string_view token);

/// Runs the steps on the tokens and joins what is left.
std::string run_decoder(const std::vector<DecodeStep>& steps, std::vector<std::string> tokens);

}  // namespace qtune
