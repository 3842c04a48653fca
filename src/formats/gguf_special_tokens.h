// Which ids have a role (bos, eos, ...) and which are put around a text. Internal to convert_hf_to_gguf.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qtune/formats/model_config.h"
#include "qtune/text/tokenizer_parts.h"

namespace qtune {

struct GgufSpecialTokens {
  std::map<std::string, int64_t> ids;  // "bos", "eos", "eot", "eom", "unk", "sep", "pad", "mask"
  std::map<std::string, bool> added;   // "bos", "eos", "sep": whether the tokenizer puts it around a text
  std::optional<bool> space_prefix;    // as tokenizer_config.json says
  std::vector<std::pair<std::string, std::string>> chat_templates;  // by name; "default" is the one
};

/// From tokenizer.json, tokenizer_config.json, the chat template's files and config.json. End tokens of
/// generation_config.json that llama.cpp would not know by their text become eot and eom.
/// Throws: CheckpointError naming a file that is no JSON object.
GgufSpecialTokens read_gguf_special_tokens(const std::filesystem::path& folder, const ModelConfig& config,
                                           const TokenizerParts& parts);

}  // namespace qtune
