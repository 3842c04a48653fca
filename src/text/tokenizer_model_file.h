// A sentencepiece model file, checked before the library sees it: the library trusts what it is given.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace qtune {

struct SentencePiece {
  enum class Kind { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  std::string text;
  float score = 0;
  Kind kind = Kind::kNormal;
};

/// What a tokenizer.model holds, as far as it decides about ids.
struct SentencePieceFile {
  enum class Algorithm { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  std::string bytes;  // the file itself
  std::vector<SentencePiece> pieces;
  Algorithm algorithm = Algorithm::kUnigram;
  bool byte_fallback = false;
  bool space_is_suffix = false;   // words are spelled "a_" instead of "_a"
  bool adds_dummy_prefix = true;  // a space in front of every text
  bool removes_extra_spaces = true;
  bool escapes_spaces = true;       // a space becomes U+2581
  bool changes_characters = false;  // a table of replacements is there (nmt_nfkc and the like)
};

/// Throws: CheckpointError naming the file and what is wrong with it.
SentencePieceFile read_sentencepiece_file(const std::filesystem::path& file);

}  // namespace qtune
