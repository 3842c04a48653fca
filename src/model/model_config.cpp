#include "qtune/model/model_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

using nlohmann::json;

json read_json(const std::filesystem::path& path) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const Error& e) {
    throw CheckpointError(
        fmt::format("{} ---> model_name_or_path must name a folder with config.json, a tokenizer and "
                    "model.safetensors",
                    e.what()));
  }
  try {
    json value = json::parse(text);
    if (!value.is_object()) throw CheckpointError(fmt::format("{}: expected a JSON object", path.string()));
    return value;
  } catch (const json::exception& e) {
    throw CheckpointError(fmt::format("{}: not valid JSON: {}", path.string(), e.what()));
  }
}

/// One config.json with typed, checked access.
class Fields {
 public:
  Fields(const json& object, std::string path) : object_(object), path_(std::move(path)) {}

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }

  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const {
    if (!has(key)) return required(key, fallback);
    const json& value = object_[key];
    // Sizes beyond 2^31 would overflow products below, and no model has them.
    if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > 2147483647.0) {
      fail(key, "a positive integer", value);
    }
    return value.get<int64_t>();
  }

  double positive(const char* key, std::optional<double> fallback = {}) const {
    if (!has(key)) return required(key, fallback);
    if (!object_[key].is_number() || !(object_[key].get<double>() > 0)) fail(key, "a number above 0", object_[key]);
    return object_[key].get<double>();
  }

  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) fail(key, "true or false", object_[key]);
    return object_[key].get<bool>();
  }

  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) fail(key, "a string", object_[key]);
    return object_[key].get<std::string>();
  }

  [[noreturn]] void fail(const char* key, const std::string& expected, const json& found) const {
    std::string text = found.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    throw CheckpointError(fmt::format("{}: {}: expected {}, found {}", path_, key, expected, text));
  }

 private:
  template <class T>
  T required(const char* key, const std::optional<T>& fallback) const {
    if (!fallback) throw CheckpointError(fmt::format("{}: key {} is missing", path_, key));
    return *fallback;
  }

  const json& object_;
  std::string path_;
};

/// transformers 5 keeps the rotary settings in rope_parameters, transformers 4 in rope_theta and rope_scaling.
double read_rope_theta(const json& config, const Fields& fields, const std::string& path) {
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!fields.has(key)) continue;
    if (!config[key].is_object()) fields.fail(key, "an object", config[key]);
    const Fields rope(config[key], path + ": " + key);
    const std::string type = rope.text("rope_type", rope.text("type", "default"));
    if (type != "default") {
      throw CheckpointError(
          fmt::format("{}: {}.rope_type: expected default, found {} ---> this version does not "
                      "compute scaled rotary positions",
                      path, key, type));
    }
    if (rope.has("rope_theta")) return rope.positive("rope_theta");
  }
  return fields.positive("rope_theta", 10000.0);
}

void read_eos(const json& source, const std::string& path, std::vector<int32_t>& eos_ids) {
  if (!source.contains("eos_token_id") || source["eos_token_id"].is_null()) return;
  const json& value = source["eos_token_id"];
  std::vector<int32_t> ids;
  for (const json& id : value.is_array() ? value : json::array({value})) {
    const bool fits = id.is_number_integer() && id.get<double>() >= 0 && id.get<double>() <= INT32_MAX;
    if (!fits) Fields(source, path).fail("eos_token_id", "an id or a list of ids", value);
    ids.push_back(id.get<int32_t>());
  }
  eos_ids = std::move(ids);
}

void check_supported(const ModelConfig& c, const Fields& fields, const std::string& path) {
  if (c.model_type != "llama") {
    throw CheckpointError(
        fmt::format("{}: model_type: expected llama, found {} ---> this version trains the llama "
                    "family (SmolLM2, Llama 2) only",
                    path, c.model_type));
  }
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (fields.boolean(key, false)) {
      throw CheckpointError(
          fmt::format("{}: {}: expected false, found true ---> not supported in this version", path, key));
    }
  }
  if (const std::string act = fields.text("hidden_act", "silu"); act != "silu") {
    throw CheckpointError(fmt::format("{}: hidden_act: expected silu, found {}", path, act));
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    throw CheckpointError(fmt::format("{}: num_attention_heads ({}) is not a multiple of num_key_value_heads ({})",
                                      path, c.num_heads, c.num_kv_heads));
  }
  if (c.head_dim % 2 != 0) {
    throw CheckpointError(fmt::format("{}: head_dim: expected an even number, found {}", path, c.head_dim));
  }
}

}  // namespace

int64_t ModelConfig::num_parameters() const {
  return num_layers * (layer_macs_per_token() / num_layers + 2 * hidden_size) + hidden_size +
         (tied_embeddings ? 1 : 2) * vocab_size * hidden_size;
}

int64_t ModelConfig::layer_macs_per_token() const {
  return num_layers *
         (hidden_size * qkv_width() + num_heads * head_dim * hidden_size + 3 * hidden_size * intermediate_size);
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::string path = (folder / "config.json").string();
  const json config = read_json(path);
  const Fields fields(config, path);
  ModelConfig c;
  c.model_type = fields.text("model_type", "");
  c.vocab_size = fields.integer("vocab_size");
  c.hidden_size = fields.integer("hidden_size");
  c.intermediate_size = fields.integer("intermediate_size");
  c.num_layers = fields.integer("num_hidden_layers");
  c.num_heads = fields.integer("num_attention_heads");
  c.num_kv_heads = fields.integer("num_key_value_heads", c.num_heads);
  if (!fields.has("head_dim") && c.hidden_size % c.num_heads != 0) {
    throw CheckpointError(fmt::format("{}: hidden_size ({}) is not a multiple of num_attention_heads ({})", path,
                                      c.hidden_size, c.num_heads));
  }
  c.head_dim = fields.integer("head_dim", c.hidden_size / c.num_heads);
  c.max_positions = fields.integer("max_position_embeddings", 2048);
  c.rms_norm_eps = fields.positive("rms_norm_eps", 1e-6);
  c.rope_theta = read_rope_theta(config, fields, path);
  c.tied_embeddings = fields.boolean("tie_word_embeddings", false);
  read_eos(config, path, c.eos_ids);
  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation)) read_eos(read_json(generation), generation.string(), c.eos_ids);
  check_supported(c, fields, path);
  return c;
}

}  // namespace qtune
