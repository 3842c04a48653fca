// What the files beside a tokenizer.model say about it: added_tokens.json and tokenizer_config.json.
#pragma once

#include <filesystem>
#include <vector>

#include "added_tokens.h"

namespace qtune {

/// Where a space is put in front of the text (the model's dummy prefix).
enum class PrefixSpace {
  kFirst,   // of the text, not of what follows a special token in it
  kAlways,  // also behind every special token: "legacy": true
  kNever    // "add_prefix_space": false
};

struct TokenizerAdditions {
  std::vector<AddedToken> tokens;  // each id once
  PrefixSpace prefix_space = PrefixSpace::kFirst;
};

/// Empty: neither file is there. `num_pieces` bounds the ids.
/// Throws: CheckpointError naming the file and the entry that is malformed.
TokenizerAdditions read_tokenizer_additions(const std::filesystem::path& folder, size_t num_pieces);

}  // namespace qtune
