// Which of a model's tokens are special: they stand for structure, not for text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "qtune/text/tokenizer.h"

namespace qtune {

struct SpecialIds {
  std::map<int32_t, std::string> texts;  // by id
  std::optional<int32_t> bos;            // begins a text

  bool contains(int32_t id) const { return texts.find(id) != texts.end(); }
};

/// Added tokens that are special, and named ones (bos_token, ...): from tokenizer_config.json, special_tokens_map.json
/// and tokenizer.json. `tokenizer` knows the ids of what only stands there by its text; null: that is left out.
/// Empty: no such file, or none that can be read. This is for views and warnings; loading a tokenizer checks the files.
SpecialIds read_special_ids(const std::filesystem::path& model_folder, const Tokenizer* tokenizer);

/// The token that the tokenizer's files put before a plain text (Llama's <s>), as transformers does outside of chat
/// templates: add_bos_token of tokenizer_config.json, else what tokenizer.json's post_processor begins with. A folder
/// with tokenizer.model alone: bos_token. nullopt: none.
std::optional<int32_t> read_text_start(const std::filesystem::path& model_folder, const Tokenizer& tokenizer);

}  // namespace qtune
