#include "gguf_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "qtune/base/error.h"
#include "quote_name.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kControl = 3, kUserDefined = 4;  // values of tokenizer.ggml.token_type

[[noreturn]] void fail(const GgufFile& file, const std::string& fault, std::string_view what_to_do) {
  throw CheckpointError(fmt::format("{}: {} ---> {}", file.path().string(), fault, what_to_do));
}

[[noreturn]] void fail_damaged(const GgufFile& file, const std::string& fault) {
  fail(file, fault, "the file is damaged; copy or download it again");
}

std::vector<std::string_view> required_texts(const GgufFile& file, const char* key) {
  std::optional<std::vector<std::string_view>> texts = file.texts(key);
  if (!texts) fail_damaged(file, fmt::format("metadata {}: expected a list, found none", key));
  return std::move(*texts);
}

std::optional<int64_t> token_id(const GgufFile& file, const char* name, size_t num_tokens) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
  const std::optional<int64_t> id = file.integer(key);
  if (id && (*id < 0 || static_cast<uint64_t>(*id) >= num_tokens)) {
    fail_damaged(file, fmt::format("metadata {}: expected an id below {}, found {}", key, num_tokens, *id));
  }
  return id;
}

Json make_added_tokens(const std::vector<std::string_view>& tokens, const std::vector<int64_t>& types) {
  Json added = Json::array();
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (types[id] != kControl && types[id] != kUserDefined) continue;
    added.push_back({{"id", id},
                     {"content", tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", types[id] == kControl}});
  }
  return added;
}

Json make_pre_tokenizer(const GgufFile& file) {
  constexpr std::array<std::string_view, 5> kSingleDigits = {"smollm", "starcoder", "refact", "command-r", "codeshell"};
  const std::string_view kind = file.text("tokenizer.ggml.pre").value_or("");
  const bool single_digits = std::find(kSingleDigits.begin(), kSingleDigits.end(), kind) != kSingleDigits.end();
  if (!single_digits && kind != "gpt-2") {
    fail(file, fmt::format("tokenizer.ggml.pre: expected smollm or gpt-2, found {}", quote_name(kind)),
         "start from the model's Hugging Face folder");
  }
  Json parts = Json::array();
  if (single_digits) parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
  parts.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(parts)}};
}

/// The vocabulary as an object in order of id; `ids` gets the reverse of `tokens`.
Json make_vocabulary(const GgufFile& file, const std::vector<std::string_view>& tokens,
                     std::unordered_map<std::string_view, size_t>& ids) {
  Json::object_t vocabulary;
  vocabulary.reserve(tokens.size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    if (!ids.emplace(tokens[id], id).second) {
      fail_damaged(file,
                   fmt::format("token {} is there twice, as {} and {}", quote_name(tokens[id]), ids[tokens[id]], id));
    }
    // push_back, because emplace looks through all entries before it.
    vocabulary.push_back({std::string(tokens[id]), id});
  }
  return vocabulary;
}

Json make_merges(const GgufFile& file, const std::unordered_map<std::string_view, size_t>& ids) {
  Json merges = Json::array();
  std::string merged;
  for (const std::string_view merge : required_texts(file, "tokenizer.ggml.merges")) {
    // A byte-level token never holds a raw space, so the one space is the separator.
    const size_t space = merge.find(' ');
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = space == std::string_view::npos ? "" : merge.substr(space + 1);
    merged.assign(left).append(right);
    if (left.empty() || right.empty() || !ids.contains(left) || !ids.contains(right) || !ids.contains(merged)) {
      fail_damaged(file, fmt::format("merge {}: expected two tokens that make a third, all in the vocabulary",
                                     quote_name(merge)));
    }
    merges.push_back({left, right});
  }
  return merges;
}

}  // namespace

GgufTokenizer read_gguf_tokenizer(const GgufFile& file) {
  const std::string_view model = file.text("tokenizer.ggml.model").value_or("");
  if (model != "gpt2") {
    fail(file, fmt::format("tokenizer.ggml.model: expected gpt2 (byte-level BPE), found {}", quote_name(model)),
         "start from the model's Hugging Face folder");
  }
  GgufTokenizer result;
  result.tokens = required_texts(file, "tokenizer.ggml.tokens");
  const std::vector<int64_t> types = file.integers("tokenizer.ggml.token_type").value_or(std::vector<int64_t>{});
  if (types.size() != result.tokens.size()) {
    fail_damaged(
        file, fmt::format("expected a token_type for each of {} tokens, found {}", result.tokens.size(), types.size()));
  }
  for (size_t id = 0; id < types.size(); ++id) {
    if (types[id] == kControl) result.control_tokens.push_back(result.tokens[id]);
  }
  result.bos = token_id(file, "bos", result.tokens.size());
  result.eos = token_id(file, "eos", result.tokens.size());
  result.pad = token_id(file, "padding", result.tokens.size());
  result.unk = token_id(file, "unknown", result.tokens.size());

  std::unordered_map<std::string_view, size_t> ids;
  Json bpe = {{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", nullptr},
              {"continuing_subword_prefix", nullptr},
              {"end_of_word_suffix", nullptr},
              {"fuse_unk", false},
              {"byte_fallback", false},
              {"ignore_merges", false}};
  bpe["vocab"] = make_vocabulary(file, result.tokens, ids);
  bpe["merges"] = make_merges(file, ids);
  result.tokenizer_json = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", make_added_tokens(result.tokens, types)},
      {"normalizer", nullptr},
      {"pre_tokenizer", make_pre_tokenizer(file)},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}}};
  result.tokenizer_json["model"] = std::move(bpe);
  return result;
}

Json make_tokenizer_config(const GgufFile& file, const GgufTokenizer& tokenizer, int64_t max_tokens) {
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"model_max_length", max_tokens},
                 {"chat_template", nullptr},
                 {"additional_special_tokens", Json::array()}};
  if (const auto chat_template = file.text("tokenizer.chat_template")) config["chat_template"] = *chat_template;
  for (const std::string_view token : tokenizer.control_tokens) {
    if (token == "<|im_start|>" || token == "<|im_end|>") config["additional_special_tokens"].push_back(token);
  }
  const auto name_token = [&](const char* key, std::optional<int64_t> id) {
    if (id) config[key] = tokenizer.tokens[static_cast<size_t>(*id)];
  };
  name_token("bos_token", tokenizer.bos);
  name_token("eos_token", tokenizer.eos);
  name_token("pad_token", tokenizer.pad);
  name_token("unk_token", tokenizer.unk);
  return config;
}

}  // namespace qtune
