#include "fuzz/targets.h"

#include <fmt/format.h>

#include <array>
#include <stdexcept>
#include <string>

#include "fuzz/promise.h"
#include "fuzz/use_files.h"
#include "fuzz/use_tokenizer.h"
#include "qtune/base/file.h"
#include "qtune/formats/convert.h"
#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/model_config.h"
#include "qtune/formats/safetensors.h"

namespace qtune::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char *kFirstShard = "model-00001-of-00002.safetensors",
                     *kSecondShard = "model-00002-of-00002.safetensors";

void prepare_nothing(const fs::path&) {}

/// A float32 tensor of 1 to 8 values.
TensorToWrite small_tensor(std::string name, std::vector<int64_t> shape) {
  static const std::array<float, 8> kValues{1, 2, 3, 4, 5, 6, 7, 8};
  const auto size = static_cast<size_t>(num_values(shape).value());
  return {.name = std::move(name),
          .dtype = Dtype::kF32,
          .shape = std::move(shape),
          .values = std::as_bytes(std::span(kValues).first(size))};
}

void read_safetensors(const fs::path& folder) { use_safetensors(folder / "model.safetensors"); }

void write_shards(const fs::path& folder) {
  write_safetensors(folder / kFirstShard, {small_tensor("a", {2}), small_tensor("b", {2, 3})});
  write_safetensors(folder / kSecondShard, {small_tensor("c", {1})});
}

void use_config(const ModelConfig& config) {
  check_that(config.num_parameters() > 0 && config.layer_macs_per_token() > 0, "sizes of a model are above 0");
}

/// The model that is made of it is read back, too.
void read_gguf(const fs::path& folder) {
  const fs::path path = folder / "model.gguf", out = folder / "converted";
  fs::remove_all(out);
  use_gguf(path);
  convert_gguf_to_hf(path, out);
  use_config(read_model_config(out));
  use_weights(out);
  use_tokenizer(out);
}

void read_config(const fs::path& folder) { use_config(read_model_config(folder)); }

void write_adapter_weights(const fs::path& folder) {
  const std::string module = "model.layers.0.self_attn.q_proj";
  write_safetensors(folder / kLoraWeightsFile,
                    {small_tensor(lora_a_name(module), {2, 4}), small_tensor(lora_b_name(module), {3, 2})});
}

void write_adapter_config(const fs::path& folder) {
  const LoraConfig config{.rank = 2, .alpha = 4};
  write_file_atomic(folder / kLoraConfigFile, lora_config_json(config, "base"));
}

void read_adapter(const fs::path& folder) {
  const LoraAdapter adapter(folder);
  check_that(!adapter.modules().empty() && !lora_config_json(adapter.config(), "base").empty(),
             "an adapter has modules and a config that can be written");
}

}  // namespace

const std::vector<Target>& all_targets() {
  static const std::vector<Target> targets = {
      {"safetensors", "model.safetensors", Form::kSafetensors, prepare_nothing, read_safetensors},
      {"safetensors_index", "model.safetensors.index.json", Form::kJson, write_shards, use_weights},
      {"gguf", "model.gguf", Form::kBytes, prepare_nothing, read_gguf},
      {"config", "config.json", Form::kJson, prepare_nothing, read_config},
      {"adapter_config", kLoraConfigFile, Form::kJson, write_adapter_weights, read_adapter},
      {"adapter_weights", kLoraWeightsFile, Form::kSafetensors, write_adapter_config, read_adapter},
      {"tokenizer_json", "tokenizer.json", Form::kJson, prepare_nothing, use_tokenizer},
      {"tokenizer_model", "tokenizer.model", Form::kBytes, prepare_nothing, use_tokenizer},
  };
  return targets;
}

const Target& find_target(std::string_view name) {
  std::string known;
  for (const Target& target : all_targets()) {
    if (target.name == name) return target;
    known += fmt::format(" {}", target.name);
  }
  throw std::invalid_argument(fmt::format("expected one of{}, found {}", known, name));
}

}  // namespace qtune::fuzz
