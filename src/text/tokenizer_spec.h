// A tokenizer.json, checked: everything in it that changes a token id or a decoded text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "added_tokens.h"
#include "bpe.h"
#include "normalize.h"
#include "pre_tokenize.h"

namespace qtune {

struct DecodeStep {
  enum class Kind { kByteLevel, kReplace, kByteFallback, kFuse, kStrip, kMetaspace } kind;
  std::string pattern, content;  // kReplace; kStrip: `content` is the one character; kMetaspace: `pattern` is it
  size_t start = 0, stop = 0;    // kStrip: at most so many at either end
  bool drops_prefix = false;     // kMetaspace: the first token's go, all others become spaces
};

struct TokenizerSpec {
  BpeSpec model;
  std::vector<AddedToken> added_tokens;  // special ones first, then by file order, as the library looks for them
  std::vector<NormalizeStep> normalizer;
  std::vector<PreStep> pre_tokenizer;
  std::vector<DecodeStep> decoder;
  bool joins_with_spaces = false;  // no decoder: tokens with a space between them
};

/// Throws: CheckpointError naming the file and the entry that is malformed or not known.
TokenizerSpec read_tokenizer_spec(const std::filesystem::path& file);

}  // namespace qtune
