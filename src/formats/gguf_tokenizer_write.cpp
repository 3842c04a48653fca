#include "gguf_tokenizer_write.h"

#include <fmt/format.h>

#include <unordered_map>

#include "gguf_special_tokens.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/text/tokenizer_parts.h"

namespace qtune {
namespace {

using Kind = TokenizerParts::Kind;
using Cut = TokenizerParts::Cut;
using Model = TokenizerParts::Model;

constexpr int64_t kGraniteVocabulary = 49152;  // SmolLM2's, too: llama.cpp's converter turns bos off by this number

[[noreturn]] void fail(const TokenizerParts& parts, const std::string& fault, std::string_view what_to_do) {
  throw CheckpointError(fmt::format("{}: {} ---> {}", parts.file.string(), fault, what_to_do));
}

/// llama.cpp's name of the way in which text is cut before it is merged.
std::string pre_tokenizer_name(const TokenizerParts& parts) {
  if (parts.model != Model::kByteLevelBpe) {
    if (parts.cut == Cut::kWords) return "default";
    fail(parts, fmt::format("expected spaces as U+2581 and nothing else changed or cut, found {}", parts.cut_name),
         "llama.cpp has no such tokenizer");
  }
  // Names in llama.cpp decide both about the cut and about whether whole pieces may skip the merges.
  switch (parts.cut) {
    case Cut::kNumbersOfThree:
      return parts.ignores_merges ? "llama-bpe" : "smaug-bpe";
    case Cut::kGpt2:
      if (!parts.ignores_merges) return "gpt-2";
      break;
    case Cut::kDigitsThenGpt2:
      if (!parts.ignores_merges) return "smollm";
      break;
    case Cut::kNumbersOfOne:
      if (!parts.ignores_merges) return "qwen2";
      break;
    default:
      break;
  }
  fail(parts,
       fmt::format("expected the pre_tokenizer of GPT-2, SmolLM2, Llama 3 or Qwen2, found {}{}",
                   parts.cut_name.empty() ? "none" : parts.cut_name, parts.ignores_merges ? " with ignore_merges" : ""),
       "llama.cpp has no such tokenizer");
}

/// Scores that make llama.cpp merge in the order of the ranks: a token's is minus the rank of its first merge.
void set_scores_by_rank(TokenizerParts& parts) {
  std::unordered_map<std::string, float> scores;
  for (size_t rank = 0; rank < parts.merges.size(); ++rank) {
    scores.emplace(parts.merges[rank].first + parts.merges[rank].second, -static_cast<float>(rank));
  }
  for (TokenizerParts::Token& token : parts.tokens) {
    if (token.kind != Kind::kNormal) continue;
    const auto found = scores.find(token.text);
    token.score = found != scores.end() ? found->second : -static_cast<float>(parts.merges.size());
  }
}

void add_tokens(GgufMetadata& metadata, const TokenizerParts& parts, int64_t vocab_size) {
  std::vector<std::string> texts;
  std::vector<int32_t> kinds;
  std::vector<float> scores;
  for (int64_t id = 0; id < vocab_size; ++id) {
    const auto index = static_cast<size_t>(id);
    const bool has_token = index < parts.tokens.size() && parts.tokens[index].kind != Kind::kNone;
    texts.push_back(has_token ? parts.tokens[index].text : fmt::format("[PAD{}]", id));
    kinds.push_back(static_cast<int32_t>(has_token ? parts.tokens[index].kind : Kind::kUnused));
    scores.push_back(has_token ? parts.tokens[index].score : -10000.0f);
  }
  metadata.add_texts("tokenizer.ggml.tokens", texts);
  if (parts.model != Model::kByteLevelBpe) metadata.add_float32s("tokenizer.ggml.scores", scores);
  metadata.add_int32s("tokenizer.ggml.token_type", kinds);
}

void add_merges(GgufMetadata& metadata, const TokenizerParts& parts) {
  std::vector<std::string> merges;
  merges.reserve(parts.merges.size());
  for (const auto& [left, right] : parts.merges) merges.push_back(left + " " + right);
  metadata.add_texts("tokenizer.ggml.merges", merges);
}

void add_special_tokens(GgufMetadata& metadata, const GgufSpecialTokens& special, bool keeps_granite_rule) {
  constexpr std::pair<const char*, const char*> kKeys[] = {{"bos", "bos"},     {"eos", "eos"},     {"eot", "eot"},
                                                           {"eom", "eom"},     {"unk", "unknown"}, {"sep", "seperator"},
                                                           {"pad", "padding"}, {"mask", "mask"}};  // GGUF spells it so
  for (const auto& [name, key] : kKeys) {
    const auto found = special.ids.find(name);
    if (found != special.ids.end()) metadata.add_uint32(fmt::format("tokenizer.ggml.{}_token_id", key), found->second);
  }
  for (const char* name : {"bos", "eos", "sep"}) {
    const auto found = special.added.find(name);
    const bool off = keeps_granite_rule && std::string_view(name) == "bos";
    if (!off && found == special.added.end()) continue;
    metadata.add_bool(fmt::format("tokenizer.ggml.add_{}_token", name), !off && found->second);
  }
}

void add_chat_templates(GgufMetadata& metadata, const GgufSpecialTokens& special) {
  std::vector<std::string> others;
  for (const auto& [name, text] : special.chat_templates) {
    const bool is_default = name == "default";
    metadata.add_text(is_default ? "tokenizer.chat_template" : fmt::format("tokenizer.chat_template.{}", name), text);
    if (!is_default) others.push_back(name);
  }
  if (!others.empty()) metadata.add_texts("tokenizer.chat_templates", others);
}

}  // namespace

void add_tokenizer_keys(GgufMetadata& metadata, const std::filesystem::path& folder, const ModelConfig& config) {
  TokenizerParts parts = read_tokenizer_parts(folder);
  if (static_cast<int64_t>(parts.tokens.size()) > config.vocab_size) {
    fail(parts,
         fmt::format("expected at most {} tokens, the model's vocab_size, found {}", config.vocab_size,
                     parts.tokens.size()),
         "tokenizer and model belong to different checkpoints");
  }
  const bool byte_level = parts.model == Model::kByteLevelBpe;
  const std::string pre = pre_tokenizer_name(parts);
  if (parts.model == Model::kByteFallbackBpe) set_scores_by_rank(parts);
  const GgufSpecialTokens special = read_gguf_special_tokens(folder, config, parts);
  const bool llama = config.model_type == "llama" || config.model_type == "mistral";
  if (special.space_prefix && llama) {
    metadata.add_bool("tokenizer.ggml.add_space_prefix", *special.space_prefix);
  } else if (!byte_level && !parts.adds_space_prefix) {
    metadata.add_bool("tokenizer.ggml.add_space_prefix", false);  // llama.cpp would
  }
  metadata.add_text("tokenizer.ggml.model", byte_level ? "gpt2" : "llama");
  metadata.add_text("tokenizer.ggml.pre", pre);
  add_tokens(metadata, parts, config.vocab_size);
  if (byte_level) add_merges(metadata, parts);
  add_special_tokens(metadata, special, llama && config.vocab_size == kGraniteVocabulary);
  add_chat_templates(metadata, special);
}

}  // namespace qtune
