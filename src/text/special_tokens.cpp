#include "special_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "qtune/base/error.h"
#include "qtune/base/json_text.h"

namespace qtune {
namespace {

using nlohmann::json;

constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

/// A JSON object from a file; an empty one when there is no such file.
json read_object(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return json::object();
  json value = json::parse(read_json_text(file), nullptr, false);
  if (!value.is_object())
    throw CheckpointError(fmt::format("{}: expected a JSON object, found something else", file.string()));
  return value;
}

/// A token's text: a string, or an object that holds it as "content".
std::optional<std::string> token_text(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return std::nullopt;
}

void add(SpecialTokens& out, const std::string& name, const std::string& text) {
  if (out.find(name).empty()) out.named.emplace_back(name, text);
}

void add_standard_names(SpecialTokens& out, const json& config, const std::filesystem::path& file) {
  for (const char* name : kNames) {
    const auto found = config.find(name);
    if (found == config.end() || found->is_null()) continue;
    const auto text = token_text(*found);
    if (!text) {
      throw CheckpointError(fmt::format("{}: {}: expected a string, found {}", file.string(), name,
                                        found->dump(-1, ' ', true).substr(0, 80)));
    }
    if (!text->empty()) add(out, name, *text);
  }
}

/// Tokens that only some models have: image_token and the like.
void add_other_names(SpecialTokens& out, const json& config) {
  for (const auto& [name, value] : config.items()) {
    const auto text = name.ends_with("_token") ? token_text(value) : std::nullopt;
    if (text && !text->empty()) add(out, name, *text);
  }
  for (const char* group : {"extra_special_tokens", "model_specific_special_tokens"}) {
    const auto found = config.find(group);
    if (found == config.end() || !found->is_object()) continue;
    for (const auto& [name, value] : found->items()) {
      if (const auto text = token_text(value)) add(out, name, *text);
    }
  }
}

void add_special(SpecialTokens& out, const json& token) {
  const bool special = token.is_object() && token.contains("special") && token["special"] == true;
  const auto text = special ? token_text(token) : std::nullopt;
  if (text && !text->empty()) out.all.push_back(*text);
}

/// tokenizer.json without its vocabulary, which may be large.
json read_tokenizer_head(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return json::object();
  const auto keep = [](int depth, json::parse_event_t event, const json& key) {
    return !(event == json::parse_event_t::key && depth == 1 && key != "added_tokens");
  };
  return json::parse(read_json_text(file), keep, false);
}

}  // namespace

std::string SpecialTokens::find(const std::string& name) const {
  const auto found = std::find_if(named.begin(), named.end(), [&](const auto& entry) { return entry.first == name; });
  return found == named.end() ? "" : found->second;
}

SpecialTokens read_named_tokens(const std::filesystem::path& folder) {
  SpecialTokens out{.folder = folder};
  const auto config_file = folder / "tokenizer_config.json", map_file = folder / "special_tokens_map.json";
  const json config = read_object(config_file);
  add_standard_names(out, config, config_file);
  // transformers reads the older file only beside a config without a list of tokens; elsewhere they agree
  if (!config.contains("added_tokens_decoder")) add_standard_names(out, read_object(map_file), map_file);
  add_other_names(out, config);
  return out;
}

SpecialTokens read_special_tokens(const std::filesystem::path& folder) {
  SpecialTokens out = read_named_tokens(folder);
  for (const auto& entry : out.named) out.all.push_back(entry.second);
  const json config = read_object(folder / "tokenizer_config.json");
  if (const auto found = config.find("added_tokens_decoder"); found != config.end() && found->is_object()) {
    for (const auto& [id, token] : found->items()) add_special(out, token);
  }
  for (const char* group : {"additional_special_tokens", "extra_special_tokens"}) {
    const auto found = config.find(group);
    if (found == config.end() || !found->is_array()) continue;
    for (const json& token : *found) {
      if (const auto text = token_text(token); text && !text->empty()) out.all.push_back(*text);
    }
  }
  const json tokenizer = read_tokenizer_head(folder / "tokenizer.json");
  if (tokenizer.is_object() && tokenizer.contains("added_tokens") && tokenizer["added_tokens"].is_array()) {
    for (const json& token : tokenizer["added_tokens"]) add_special(out, token);
  }
  std::sort(out.all.begin(), out.all.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a < b;
  });
  out.all.erase(std::unique(out.all.begin(), out.all.end()), out.all.end());
  return out;
}

}  // namespace qtune
