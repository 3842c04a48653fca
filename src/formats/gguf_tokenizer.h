// The tokenizer that a GGUF file holds, as tokenizer.json and tokenizer_config.json. Internal to convert_gguf_to_hf.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "qtune/formats/gguf.h"

namespace qtune {

struct GgufTokenizer {
  std::vector<std::string_view> tokens;  // by id; they point into the mapped file
  std::vector<std::string_view> control_tokens;
  std::optional<int64_t> bos, eos, pad, unk;  // ids below tokens.size()
  nlohmann::ordered_json tokenizer_json;
};

/// Throws: CheckpointError naming the file and what is missing or can't be converted.
GgufTokenizer read_gguf_tokenizer(const GgufFile& file);

/// tokenizer_config.json.
nlohmann::ordered_json make_tokenizer_config(const GgufFile& file, const GgufTokenizer& tokenizer, int64_t max_tokens);

}  // namespace qtune
