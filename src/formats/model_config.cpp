#include "qtune/formats/model_config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "other_models.h"
#include "qtune/base/error.h"
#include "qtune/base/json_text.h"
#include "qtune/base/log.h"
#include "quote_name.h"

namespace qtune {
namespace {

using nlohmann::json;

json read_json(const std::filesystem::path& path) {
  std::string text;
  try {
    text = read_json_text(path, kMaxSettingsBytes);
  } catch (const CheckpointError&) {
    throw;
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
    throw CheckpointError(fmt::format("{}: not valid JSON: {}", path.string(), std::string(e.what()).substr(0, 200)));
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

RopeScaling read_rope_scaling(const Fields& rope, const std::string& type, const std::string& where,
                              int64_t max_positions) {
  RopeScaling scaling;
  if (type == "default") return scaling;
  if (type != "linear" && type != "llama3") {
    throw CheckpointError(
        fmt::format("{}.rope_type: expected default, linear or llama3, found {} ---> this version does not compute "
                    "such rotary positions",
                    where, quote_name(type)));
  }
  scaling.factor = rope.positive("factor");
  scaling.type = RopeScalingType::kLinear;
  if (type == "linear") return scaling;
  scaling.type = RopeScalingType::kLlama3;
  scaling.low_freq_factor = rope.positive("low_freq_factor");
  scaling.high_freq_factor = rope.positive("high_freq_factor");
  scaling.original_positions = rope.integer("original_max_position_embeddings", max_positions);
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    throw CheckpointError(fmt::format("{}.high_freq_factor: expected above low_freq_factor ({}), found {}", where,
                                      scaling.low_freq_factor, scaling.high_freq_factor));
  }
  return scaling;
}

/// transformers 5 keeps the rotary settings in rope_parameters, transformers 4 in rope_theta and rope_scaling. Where
/// both are, transformers 5 takes rope_scaling, and not even rope_theta from the other.
const char* rope_key(const json& config, const Fields& fields, const std::string& path) {
  const auto given = [&](const char* key) {
    return fields.has(key) && !(config[key].is_object() && config[key].empty());
  };
  if (!given("rope_scaling")) return fields.has("rope_parameters") ? "rope_parameters" : nullptr;
  static std::set<std::string> told;  // a command may read a config more than once
  if (given("rope_parameters") && told.insert(path).second) {
    spdlog::warn(
        "{}: rope_parameters is not read, since there is rope_scaling, too (as in transformers) ---> keep one of the "
        "two, rope_theta in it",
        path);
  }
  return "rope_scaling";
}

void read_rope(const json& config, const Fields& fields, const std::string& path, ModelConfig& c) {
  c.rope_theta = fields.positive("rope_theta", 10000.0);
  const char* const key = rope_key(config, fields, path);
  if (key == nullptr) return;
  if (!config[key].is_object()) fields.fail(key, "an object", config[key]);
  const std::string where = path + ": " + key;
  const Fields rope(config[key], where);
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  c.rope_scaling = read_rope_scaling(rope, type, where, c.max_positions);
  if (rope.has("rope_theta")) c.rope_theta = rope.positive("rope_theta");
  // At the top it wins over the one inside, as in transformers.
  if (c.rope_scaling.type == RopeScalingType::kLlama3 && fields.has("original_max_position_embeddings")) {
    c.rope_scaling.original_positions = fields.integer("original_max_position_embeddings");
  }
}

/// What a family's config.json does not say, since transformers has it in code.
struct Family {
  std::string_view model_type;
  bool qkv_bias = false, qk_norm = false;
  bool own_head_dim = true;  // head_dim is a setting of its own, not always hidden_size / num_attention_heads
  bool has_window = false;   // sliding_window holds for every layer, and is 4096 where the key is missing
  int64_t max_positions = 2048;
};

constexpr int64_t kDefaultWindow = 4096;

constexpr Family kFamilies[] = {
    {.model_type = "llama"},
    {.model_type = "mistral", .has_window = true, .max_positions = 131072},
    {.model_type = "qwen2", .qkv_bias = true, .own_head_dim = false, .max_positions = 32768},
    {.model_type = "qwen3", .qk_norm = true, .max_positions = 32768},
};

const Family& find_family(const std::string& model_type, const std::string& path) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (family.model_type == model_type) return family;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", family.model_type);
  }
  throw CheckpointError(
      fmt::format("{}: model_type: expected one of {}, found {} ---> this version does not train that family", path,
                  known, quote_name(model_type)));
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
  for (const char* key : {"attention_bias", "mlp_bias", "use_sliding_window"}) {
    // transformers 4 wrote Qwen2's own biases as attention_bias.
    if (c.qkv_bias && std::string_view(key) == "attention_bias") continue;
    if (fields.boolean(key, false)) {
      throw CheckpointError(
          fmt::format("{}: {}: expected false, found true ---> not supported in this version", path, key));
    }
  }
  if (const std::string act = fields.text("hidden_act", "silu"); act != "silu") {
    throw CheckpointError(fmt::format("{}: hidden_act: expected silu, found {}", path, quote_name(act)));
  }
  if (c.num_heads % c.num_kv_heads != 0) {
    throw CheckpointError(fmt::format("{}: num_attention_heads ({}) is not a multiple of num_key_value_heads ({})",
                                      path, c.num_heads, c.num_kv_heads));
  }
  if (c.head_dim % 2 != 0) {
    throw CheckpointError(fmt::format("{}: head_dim: expected an even number, found {}", path, c.head_dim));
  }
}

/// Products of sizes are computed in 64 bits, here and wherever memory is planned.
void check_sizes(const ModelConfig& c, const std::string& path) {
  constexpr double kMostWeights = 1e15;
  const auto size = [](int64_t value) { return static_cast<double>(value); };
  const double hidden = size(c.hidden_size), q_rows = size(c.num_heads) * size(c.head_dim);
  const double kv_rows = size(c.num_kv_heads) * size(c.head_dim);
  const double layer = hidden * (2 * q_rows + 2 * kv_rows + 3 * size(c.intermediate_size));
  const double weights = size(c.num_layers) * layer + 2 * size(c.vocab_size) * hidden;
  if (weights > kMostWeights) {
    throw CheckpointError(
        fmt::format("{}: expected sizes of a model of at most {:.0e} weights, found {:.0e} ---> the "
                    "file is damaged; copy or download it again",
                    path, kMostWeights, weights));
  }
}

}  // namespace

int64_t ModelConfig::num_parameters() const {
  const int64_t small = 2 * hidden_size + (qkv_bias ? qkv_width() : 0) + (qk_norm ? 2 * head_dim : 0);
  return num_layers * (layer_macs_per_token() / num_layers + small) + hidden_size +
         (tied_embeddings ? 1 : 2) * vocab_size * hidden_size;
}

int64_t ModelConfig::layer_macs_per_token() const {
  return num_layers *
         (hidden_size * qkv_width() + num_heads * head_dim * hidden_size + 3 * hidden_size * intermediate_size);
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  const std::string path = (folder / "config.json").string();
  if (std::error_code ignored; !std::filesystem::exists(path, ignored)) {
    throw CheckpointError(
        fmt::format("{}: expected the model's config, {}", path,
                    found_instead(folder,
                                  "found no such file ---> give a folder with config.json, a tokenizer and "
                                  "model.safetensors")));
  }
  const json config = read_json(path);
  const Fields fields(config, path);
  ModelConfig c;
  c.model_type = fields.text("model_type", "");
  const Family& family = find_family(c.model_type, path);
  c.qkv_bias = family.qkv_bias;
  c.qk_norm = family.qk_norm;
  c.own_head_dim = family.own_head_dim;
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
  c.max_positions = fields.integer("max_position_embeddings", family.max_positions);
  c.rms_norm_eps = fields.positive("rms_norm_eps", 1e-6);
  read_rope(config, fields, path, c);
  const bool no_window = config.contains("sliding_window") && config["sliding_window"].is_null();
  if (family.has_window && !no_window) c.sliding_window = fields.integer("sliding_window", kDefaultWindow);
  c.tied_embeddings = fields.boolean("tie_word_embeddings", false);
  read_eos(config, path, c.eos_ids);
  const std::filesystem::path generation = folder / "generation_config.json";
  if (std::filesystem::exists(generation)) read_eos(read_json(generation), generation.string(), c.eos_ids);
  check_supported(c, fields, path);
  check_sizes(c, path);
  return c;
}

void set_config_dtype(nlohmann::ordered_json& config, Dtype dtype) {
  if (config.contains("dtype")) config["dtype"] = dtype_torch_name(dtype);
  if (config.contains("torch_dtype") || !config.contains("dtype")) config["torch_dtype"] = dtype_torch_name(dtype);
}

}  // namespace qtune
