// What a tokenizer is made of, for writing it in another format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace qtune {

struct TokenizerParts {
  enum class Model {
    kByteLevelBpe,     // merges by rank, tokens in the byte-level alphabet
    kByteFallbackBpe,  // merges by rank, characters without a token as <0x00>
    kSentencePiece     // a tokenizer.model: merges by score
  };
  enum class Kind { kNone, kNormal, kUnknown, kControl, kUserDefined, kUnused, kByte };
  /// How a text is cut before it is merged.
  enum class Cut {
    kGpt2,            // GPT-2's regular expression
    kDigitsThenGpt2,  // each digit alone, then GPT-2's (SmolLM2)
    kNumbersOfOne,    // Qwen2's
    kNumbersOfThree,  // Llama 3's
    kWords,           // at U+2581, or not at all (byte fallback, sentencepiece)
    kOther
  };

  struct Token {
    std::string text;
    Kind kind = Kind::kNone;  // kNone: no token has this id
    float score = 0;          // kSentencePiece
  };

  Model model = Model::kByteLevelBpe;
  std::filesystem::path file;                               // where the vocabulary is from
  std::vector<Token> tokens;                                // by id
  std::vector<bool> is_added;                               // by id: found in the text before anything is merged
  std::vector<std::pair<std::string, std::string>> merges;  // by rank; empty for kSentencePiece
  Cut cut = Cut::kOther;
  std::string cut_name;            // of kOther: what the steps are, for messages
  bool ignores_merges = false;     // a piece that is a token is that token
  bool adds_space_prefix = false;  // in front of the text
};

/// The parts of the tokenizer in `model_folder`; of a folder with both files, tokenizer.model is read where it is the
/// same vocabulary, since it has the scores.
/// Throws: CheckpointError as Tokenizer::load_tokenizer, and for a sentencepiece model that is no BPE.
TokenizerParts read_tokenizer_parts(const std::filesystem::path& model_folder);

}  // namespace qtune
