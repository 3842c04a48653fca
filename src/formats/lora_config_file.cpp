#include "lora_config_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "qtune/base/error.h"
#include "qtune/base/json_text.h"
#include "quote_name.h"

namespace qtune {
namespace {

using Json = nlohmann::json;  // ordered_json looks through all keys for each new one

constexpr int64_t kMostRank = 1 << 20;

/// Keys that change nothing in what the adapter computes, whatever their value. All others that this file does not
/// read must be off: a feature that came to PEFT later is refused by its name.
const std::set<std::string, std::less<>>& harmless_keys() {
  static const std::set<std::string, std::less<>> keys = {
      "auto_mapping", "corda_config",   "ensure_weight_tying", "eva_config",   "inference_mode",    "layers_pattern",
      "loftq_config", "lora_ga_config", "megatron_core",       "peft_version", "qalora_group_size", "revision",
      "task_type"};
  return keys;
}

bool is_off(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty()) ||
         (value.is_number() && value == 0) || value == "";
}

template <class Names>
bool contains(const Names& names, std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

class ConfigReader {
 public:
  explicit ConfigReader(const std::filesystem::path& path) : path_(path) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      throw CheckpointError(
          fmt::format("{}: expected the adapter's config, found no such file ---> give the folder of a "
                      "LoRA adapter",
                      path.string()));
    }
    json_ = Json::parse(read_json_text(path, kMaxSettingsBytes), nullptr, /*allow_exceptions=*/false);
    if (!json_.is_object()) {
      throw CheckpointError(fmt::format("{}: expected a JSON object ---> copy the file again", path.string()));
    }
  }

  LoraConfig read() {
    if (take("peft_type") != "LORA") fail("peft_type", "LORA", json_.value("peft_type", Json()));
    LoraConfig config;
    const Json r = take("r"), alpha = take("lora_alpha"), dropout = take("lora_dropout");
    if (!r.is_number_integer() || r < 1 || r > kMostRank) fail("r", "a whole number, at least 1", r);
    config.rank = r.get<int64_t>();
    if (!alpha.is_number() || !std::isfinite(alpha.get<double>())) fail("lora_alpha", "a number", alpha);
    config.alpha = alpha.get<double>();
    if (!dropout.is_null()) {
      if (!dropout.is_number() || dropout < 0 || dropout >= 1)
        fail("lora_dropout", "a number from 0 to below 1", dropout);
      config.dropout = dropout.get<double>();
    }
    config.rslora = take_flag("use_rslora");
    config.targets = targets();
    if (const Json base = take("base_model_name_or_path"); base.is_string())
      config.base_model = base.get<std::string>();
    check_plain();
    return config;
  }

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& expected, const Json& found) const {
    std::string text = found.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 60) + "...";
    throw CheckpointError(fmt::format("{}: {}: expected {}, found {}", path_.string(), key, expected, text));
  }

  Json take(const std::string& key) {
    seen_.insert(key);
    const auto found = json_.find(key);
    return found == json_.end() ? Json() : *found;
  }

  bool take_flag(const std::string& key) {
    const Json value = take(key);
    if (!value.is_null() && !value.is_boolean()) fail(key, "true or false", value);
    return value == true;
  }

  std::vector<std::string> last_words(const char* key, const Json& names) const {
    std::vector<std::string> words;
    if (!names.is_array()) fail(key, "a list of names", names);
    for (const Json& name : names) {
      if (!name.is_string()) fail(key, "a list of names", names);
      const std::string& text = name.get_ref<const std::string&>();
      words.push_back(text.substr(text.rfind('.') + 1));
    }
    return words;
  }

  std::vector<std::string> targets() {
    const Json names = take("target_modules"), excluded = take("exclude_modules");
    // PEFT writes the excluded names among the targets, too.
    const bool excludes = !is_off(excluded), by_pattern = names.is_string() || (excludes && excluded.is_string());
    const auto without = excludes && !by_pattern ? last_words("exclude_modules", excluded) : std::vector<std::string>();
    if (names.is_string()) return {};
    const std::vector<std::string> words = last_words("target_modules", names);
    for (const std::string& word : words) {
      if (contains(kLoraModules, word)) continue;
      fail("target_modules",
           fmt::format("some of {}", fmt::join(std::begin(kLoraModules), std::end(kLoraModules), ", ")), word);
    }
    if (by_pattern) return {};
    std::vector<std::string> left = lora_targets(words);
    std::erase_if(left, [&](const std::string& target) { return contains(without, target); });
    return left;
  }

  void check_plain() {
    const Json bias = take("bias"), init = take("init_lora_weights");
    if (!bias.is_null() && bias != "none") fail("bias", "none", bias);
    // Others (pissa, olora, corda, loftq, ...) change the weights below the adapter.
    const bool plain_init =
        init.is_null() || init.is_boolean() || init == "gaussian" || init == "eva" || init == "orthogonal";
    if (!plain_init) fail("init_lora_weights", "an adapter on the model's own weights (convert it with PEFT)", init);
    for (const auto& [key, value] : json_.items()) {
      if (seen_.contains(key) || harmless_keys().contains(key) || is_off(value)) continue;
      fail(quote_name(key), "plain LoRA without it", value);
    }
  }

  std::filesystem::path path_;
  Json json_;
  std::set<std::string, std::less<>> seen_;
};

}  // namespace

LoraConfig read_lora_config(const std::filesystem::path& path) { return ConfigReader(path).read(); }

std::string lora_config_json(const LoraConfig& config, const std::string& base_model) {
  const bool whole = config.alpha == std::floor(config.alpha) && std::abs(config.alpha) < 1e15;
  const Json json = {{"alpha_pattern", Json::object()},
                     {"base_model_name_or_path", base_model},
                     {"bias", "none"},
                     {"fan_in_fan_out", false},
                     {"inference_mode", true},
                     {"init_lora_weights", true},
                     {"layers_pattern", nullptr},
                     {"layers_to_transform", nullptr},
                     {"lora_alpha", whole ? Json(static_cast<int64_t>(config.alpha)) : Json(config.alpha)},
                     {"lora_dropout", config.dropout},
                     {"modules_to_save", nullptr},
                     {"peft_type", "LORA"},
                     {"r", config.rank},
                     {"rank_pattern", Json::object()},
                     {"target_modules", config.targets},
                     {"task_type", "CAUSAL_LM"},
                     {"use_dora", false},
                     {"use_rslora", config.rslora}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace qtune
