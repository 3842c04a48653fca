#include "qtune/text/special_ids.h"

#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/json_text.h"
#include "special_tokens.h"

namespace qtune {
namespace {

using nlohmann::json;

/// A JSON object without its member `model` (a tokenizer's vocabulary); an empty one for anything else.
json read_object(const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_json_text(file);
  } catch (const Error&) {
    return json::object();
  }
  const auto keep = [](int depth, json::parse_event_t event, json& value) {
    return depth != 1 || event != json::parse_event_t::key || value != "model";
  };
  json object = json::parse(text, keep, false);
  return object.is_object() ? object : json::object();
}

void add_special(SpecialIds& out, int32_t id, const json& token) {
  if (!token.is_object()) return;
  const auto special = token.find("special"), content = token.find("content");
  if (special == token.end() || *special != true || content == token.end() || !content->is_string()) return;
  if (std::string text = content->get<std::string>(); !text.empty()) out.texts[id] = std::move(text);
}

/// {"id": {"content", "special"}} of tokenizer_config.json.
void add_decoder(SpecialIds& out, const json& decoder) {
  for (const auto& [key, token] : decoder.items()) {
    const bool is_id = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    if (is_id) add_special(out, std::stoi(key), token);
  }
}

/// [{"id", "content", "special"}] of tokenizer.json.
void add_list(SpecialIds& out, const json& list) {
  for (const json& token : list) {
    const auto id = token.is_object() ? token.find("id") : token.end();
    if (id != token.end() && id->is_number_unsigned() && *id <= INT32_MAX) add_special(out, id->get<int32_t>(), token);
  }
}

std::optional<int32_t> find_id(const SpecialIds& ids, const std::string& text, const Tokenizer* tokenizer) {
  for (const auto& [id, known] : ids.texts) {
    if (known == text) return id;
  }
  return tokenizer != nullptr ? tokenizer->token_to_id(text) : std::nullopt;
}

/// The special token that the first TemplateProcessing of a post_processor puts in front; "": none.
std::string first_of_template(const json& processor) {
  if (!processor.is_object()) return "";
  if (const auto steps = processor.find("processors"); steps != processor.end() && steps->is_array()) {
    for (const json& step : *steps) {
      // One level: the library nests no deeper by itself.
      if (!step.is_object() || step.contains("processors")) continue;
      if (std::string token = first_of_template(step); !token.empty()) return token;
    }
    return "";
  }
  if (processor.value("type", json()) != "TemplateProcessing") return "";
  const json single = processor.value("single", json());
  if (!single.is_array() || single.empty() || !single[0].is_object()) return "";
  const json special = single[0].value("SpecialToken", json());
  const json id = special.is_object() ? special.value("id", json()) : json();
  return id.is_string() ? id.get<std::string>() : "";
}

SpecialTokens named_tokens(const std::filesystem::path& model_folder) {
  try {
    return read_named_tokens(model_folder);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

SpecialIds read_special_ids(const std::filesystem::path& model_folder, const Tokenizer* tokenizer) {
  SpecialIds out;
  const json config = read_object(model_folder / "tokenizer_config.json");
  if (const auto decoder = config.find("added_tokens_decoder"); decoder != config.end() && decoder->is_object()) {
    add_decoder(out, *decoder);
  } else {  // the same list, in a file that may be large
    const json file = read_object(model_folder / "tokenizer.json");
    if (const auto list = file.find("added_tokens"); list != file.end() && list->is_array()) add_list(out, *list);
  }
  const SpecialTokens tokens = named_tokens(model_folder);
  for (const auto& [name, text] : tokens.named) {
    const auto id = find_id(out, text, tokenizer);
    if (!id) continue;
    out.texts[*id] = text;
    if (name == "bos_token") out.bos = id;
  }
  return out;
}

std::optional<int32_t> read_text_start(const std::filesystem::path& model_folder, const Tokenizer& tokenizer) {
  const std::filesystem::path file = model_folder / "tokenizer.json";
  const bool has_file = std::filesystem::exists(file);
  const json config = read_object(model_folder / "tokenizer_config.json");
  const auto asked = config.find("add_bos_token");
  if (asked != config.end() && *asked == false) return std::nullopt;
  const bool adds_bos = (asked != config.end() && *asked == true) || !has_file;
  const std::string token = adds_bos ? named_tokens(model_folder).find("bos_token")
                                     : first_of_template(read_object(file).value("post_processor", json()));
  return token.empty() ? std::nullopt : tokenizer.token_to_id(token);
}

}  // namespace qtune
