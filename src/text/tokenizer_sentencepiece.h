// Tokenizers of a sentencepiece model file, through the sentencepiece library.
#pragma once

#include <filesystem>
#include <memory>

#include "qtune/text/tokenizer.h"

namespace qtune {

/// Reads `tokenizer.model` of the folder and what added_tokens.json and tokenizer_config.json add to it.
/// Throws: CheckpointError naming the file and what is wrong with it.
std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::filesystem::path& model_folder);

}  // namespace qtune
