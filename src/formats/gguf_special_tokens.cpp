#include "gguf_special_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/json_text.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// A JSON object; an empty one when there is no such file. Without its member `model`, a tokenizer's vocabulary.
json read_object(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return json::object();
  const auto keep = [](int depth, json::parse_event_t event, json& value) {
    return depth != 1 || event != json::parse_event_t::key || value != "model";
  };
  json object = json::parse(read_json_text(file), keep, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    throw CheckpointError(
        fmt::format("{}: expected a JSON object ---> copy or download the file again", file.string()));
  }
  return object;
}

/// Null for what is not there.
const json& member(const json& object, const char* key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : ""; }

/// A named token of tokenizer_config.json: a string, or an object that holds it as "content".
std::string token_text(const json& config, const std::string& name) {
  const json& value = member(config, (name + "_token").c_str());
  return value.is_object() ? text_of(member(value, "content")) : text_of(value);
}

std::string special_at(const json& piece) { return text_of(member(member(piece, "SpecialToken"), "id")); }

/// What tokenizer.json's post_processor puts around a text.
class AddedAround {
 public:
  /// `names`: texts of bos, cls, eos, sep by name, in part replaced here, as llama.cpp's converter does.
  AddedAround(const json& tokenizer, std::map<std::string, std::string>& names) : names_(names) {
    const json& post = member(tokenizer, "post_processor");
    const json& list = member(post, "processors");
    if (list.is_array()) {
      for (const json& step : list) read(step);
    } else {
      read(post);
    }
  }

  std::map<std::string, bool> added;

 private:
  void read(const json& step) {
    const std::string type = text_of(member(step, "type"));
    if (type == "ByteLevel") {
      added.emplace("bos", false);
      added.emplace("eos", false);
    } else if (type == "RobertaProcessing") {
      for (const char* name : {"bos", "eos", "sep"}) added[name] = true;
    } else if (type == "TemplateProcessing") {
      const json &single = member(step, "single"), &pair = member(step, "pair");
      std::string first, last;
      if (single.is_array() && single.size() > 1) {
        first = special_at(single.front());
        last = special_at(single.back());
        if (!first.empty()) read_first(first);
        if (!last.empty()) read_last(last);
      }
      if (pair.is_array()) read_pair(pair, first, last);
    }
  }

  void read_first(const std::string& first) {
    for (const char* name : {"bos", "cls"}) {
      if (names_[name].empty()) names_[name] = first;
    }
    added["bos"] = first == names_["bos"] || first == names_["cls"];
  }

  void read_last(const std::string& last) {
    if (std::string& eos = names_["eos"]; last != eos) {
      names_[names_["eot"].empty() ? "eot" : "eom"] = eos;
      eos = last;
    }
    added["eos"] = true;
  }

  /// Whether a separator stands between A and B.
  void read_pair(const json& pair, const std::string& first, const std::string& last) {
    size_t begin = 0, end = pair.size();
    if (!first.empty() && begin < end && special_at(pair[begin]) == first) ++begin;
    if (!last.empty() && begin < end && special_at(pair[end - 1]) == last) --end;
    const auto sequence = [&](size_t i) { return text_of(member(member(pair[i], "Sequence"), "id")); };
    if (end < begin + 3 || sequence(begin) != "A" || sequence(end - 1) != "B") return;
    const auto separates = [&](size_t i) {
      const std::string text = special_at(pair[i]);
      return !text.empty() && (text == names_["sep"] || text == names_["eos"]);
    };
    const size_t middle = end - begin - 2;
    const bool separated = (separates(begin + 1) && last.empty()) || (middle == 2 && separates(begin + 2));
    added["sep"] = separated;
    if (separated && names_["sep"].empty()) names_["sep"] = names_["eos"];
  }

  std::map<std::string, std::string>& names_;
};

/// Texts that llama.cpp takes for the end of an answer whatever the metadata say.
bool is_known_end(std::string_view text) {
  constexpr std::array<std::string_view, 8> kKnown = {"<|eot_id|>",    "<|im_end|>", "<|end|>", "<end_of_turn>",
                                                      "<|endoftext|>", "<|eom_id|>", "<EOT>",   "<|end_of_text|>"};
  return std::find(kKnown.begin(), kKnown.end(), text) != kKnown.end();
}

void add_more_ends(GgufSpecialTokens& out, const ModelConfig& config, const TokenizerParts& parts,
                   const fs::path& folder) {
  for (const int32_t id : config.eos_ids) {
    if (id < 0 || static_cast<size_t>(id) >= parts.tokens.size()) continue;
    const bool has_role = std::any_of(out.ids.begin(), out.ids.end(), [&](const auto& entry) {
      return entry.second == id && (entry.first == "eos" || entry.first == "eot" || entry.first == "eom");
    });
    const std::string& text = parts.tokens[static_cast<size_t>(id)].text;
    if (has_role || is_known_end(text)) continue;
    const char* role = !out.ids.contains("eos")   ? "eos"
                       : !out.ids.contains("eot") ? "eot"
                       : !out.ids.contains("eom") ? "eom"
                                                  : nullptr;
    if (role == nullptr) {
      spdlog::warn("{}: end token {} ({:?}) has no place in a GGUF file; llama.cpp goes on behind it", folder.string(),
                   id, text);
    } else {
      out.ids[role] = id;
    }
  }
}

void add_templates(GgufSpecialTokens& out, const json& chat_template) {
  if (chat_template.is_string()) out.chat_templates.emplace_back("default", chat_template.get<std::string>());
  if (!chat_template.is_array()) return;
  for (const json& entry : chat_template) {
    std::string name = text_of(member(entry, "name"));
    for (char& c : name) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (!plain) c = '_';
    }
    const json& text = member(entry, "template");
    const bool taken = std::any_of(out.chat_templates.begin(), out.chat_templates.end(),
                                   [&](const auto& known) { return known.first == name; });
    if (!name.empty() && text.is_string() && !taken) out.chat_templates.emplace_back(name, text.get<std::string>());
  }
}

void read_templates(GgufSpecialTokens& out, const fs::path& folder, const json& tokenizer_config) {
  std::error_code ignored;
  if (const fs::path file = folder / "chat_template.jinja"; fs::exists(file, ignored)) {
    out.chat_templates.emplace_back("default", read_file(file));
    return;
  }
  add_templates(out, member(tokenizer_config, "chat_template"));
  if (out.chat_templates.empty())
    add_templates(out, member(read_object(folder / "chat_template.json"), "chat_template"));
}

}  // namespace

GgufSpecialTokens read_gguf_special_tokens(const fs::path& folder, const ModelConfig& config,
                                           const TokenizerParts& parts) {
  const json tokenizer = read_object(folder / "tokenizer.json");
  const json tokenizer_config = read_object(folder / "tokenizer_config.json");
  const json model_config = read_object(folder / "config.json");
  std::map<std::string, std::string> names;
  for (const char* name : {"bos", "eos", "unk", "sep", "pad", "cls", "mask"}) {
    names[name] = token_text(tokenizer_config, name);
  }
  if (names["bos"].empty()) names["bos"] = names["cls"];
  if (names["eos"].empty()) names["eos"] = names["sep"];

  GgufSpecialTokens out;
  out.added = AddedAround(tokenizer, names).added;
  std::map<std::string, int64_t> id_of;
  for (size_t id = 0; id < parts.tokens.size(); ++id) {
    if (parts.tokens[id].kind != TokenizerParts::Kind::kNone && parts.is_added[id]) {
      id_of.emplace(parts.tokens[id].text, static_cast<int64_t>(id));
    }
  }
  for (const auto& [name, text] : names) {
    if (name == "cls") continue;  // GGUF has no key for it
    if (const json& flag = member(tokenizer_config, fmt::format("add_{}_token", name).c_str()); flag.is_boolean()) {
      out.added.emplace(name, flag.get<bool>());
    }
    if (const auto found = id_of.find(text); !text.empty() && found != id_of.end()) {
      out.ids[name] = found->second;
      continue;
    }
    const json& id = member(model_config, fmt::format("{}_token_id", name).c_str());
    if (id.is_number_integer() && id >= 0 && id < config.vocab_size) out.ids[name] = id.get<int64_t>();
  }
  add_more_ends(out, config, parts, folder);
  if (const json& flag = member(tokenizer_config, "add_prefix_space"); flag.is_boolean()) {
    out.space_prefix = flag.get<bool>();
  }
  read_templates(out, folder, tokenizer_config);
  return out;
}

}  // namespace qtune
