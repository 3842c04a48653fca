#include "gguf_general.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "gguf_model_card.h"
#include "gguf_model_name.h"
#include "qtune/base/json_text.h"

namespace qtune {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// An empty object where there is no such file, or none that can be read.
json read_object(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return json::object();
  json object = json::parse(read_json_text(file), nullptr, /*allow_exceptions=*/false);
  return object.is_object() ? object : json::object();
}

void add_sampling(GgufMetadata& metadata, const fs::path& folder) {
  struct Key {
    const char *name, *key;
    bool integer;
  };
  constexpr Key kKeys[] = {{"top_k", "top_k", true},
                           {"top_p", "top_p", false},
                           {"min_p", "min_p", false},
                           {"xtc_probability", "xtc_probability", false},
                           {"xtc_threshold", "xtc_threshold", false},
                           {"temperature", "temp", false},
                           {"penalty_last_n", "penalty_last_n", true},
                           {"repetition_penalty", "penalty_repeat", false},
                           {"mirostat", "mirostat", true},
                           {"mirostat_tau", "mirostat_tau", false},
                           {"mirostat_eta", "mirostat_eta", false}};
  const json config = read_object(folder / "generation_config.json");
  for (const Key& key : kKeys) {
    const auto value = config.find(key.name);
    if (value == config.end() || !value->is_number()) continue;
    const auto number = value->get<double>();
    const std::string name = std::string("general.sampling.") + key.key;
    if (!key.integer) {
      metadata.add_float32(name, number);
    } else if (number >= std::numeric_limits<int32_t>::min() && number <= std::numeric_limits<int32_t>::max()) {
      metadata.add_int32(name, static_cast<int64_t>(number));
    }
  }
}

/// The folder's own name; "." and ".." and a trailing slash have one, too.
std::string folder_name(const fs::path& folder) {
  const fs::path whole = fs::absolute(folder).lexically_normal();
  return whole.has_filename() ? whole.filename().string() : whole.parent_path().filename().string();
}

void fill(std::string& field, std::string value) {
  if (field.empty()) field = std::move(value);
}

/// What is not known yet from a model's id.
void fill_from_id(GgufModelName& names, const std::string& id, int64_t num_values) {
  GgufModelName parsed = parse_model_name(id, num_values);
  fill(names.name, model_title(parsed.name));
  fill(names.organization, model_title(parsed.organization));
  fill(names.basename, std::move(parsed.basename));
  fill(names.finetune, std::move(parsed.finetune));
  fill(names.version, std::move(parsed.version));
  fill(names.size_label, std::move(parsed.size_label));
}

}  // namespace

void add_general_keys(GgufMetadata& metadata, const fs::path& folder, int64_t num_values) {
  metadata.add_text("general.type", "model");
  add_sampling(metadata, folder);
  const GgufModelCard card = read_gguf_model_card(folder / "README.md", num_values);
  GgufModelName names = card.names;
  const json config = read_object(folder / "config.json");
  if (const auto id = config.find("_name_or_path"); id != config.end() && id->is_string()) {
    const auto text = id->get<std::string>();
    if (std::count(text.begin(), text.end(), '/') <= 1) fill_from_id(names, text, num_values);  // else a path
  }
  fill_from_id(names, folder_name(folder), num_values);
  fill(names.name, folder_name(folder));
  fill(names.size_label, model_size_label(num_values));
  const auto add = [&](const char* key, const std::string& value) {
    if (!value.empty()) metadata.add_text(key, value);
  };
  add("general.name", names.name);
  add("general.author", card.author);
  add("general.version", names.version);
  add("general.organization", names.organization);
  add("general.finetune", names.finetune);
  add("general.basename", names.basename);
  add("general.description", card.description);
  add("general.size_label", names.size_label);
  add_gguf_model_card(metadata, card);
}

}  // namespace qtune
