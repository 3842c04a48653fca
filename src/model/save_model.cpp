#include "qtune/model/save_model.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/formats/model_config.h"
#include "qtune/formats/tokenizer_files.h"

namespace qtune {
namespace {

void carry_tokenizer_over(const std::filesystem::path& source, const std::filesystem::path& target) {
  for (const std::filesystem::path& name : tokenizer_files(source)) carry_over(name, source, target);
}

/// Files of the other kind of training would be found first by who loads the folder: transformers takes an adapter
/// before the weights beside it.
void remove_files(const std::filesystem::path& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) std::filesystem::remove(folder / name);
}

}  // namespace

void save_model(Model& model, const std::filesystem::path& source, const std::filesystem::path& target,
                Dtype dtype) try {
  auto config = nlohmann::ordered_json::parse(read_file(source / "config.json"));
  set_config_dtype(config, dtype);
  if (std::filesystem::exists(source / "generation_config.json")) carry_over("generation_config.json", source, target);
  carry_tokenizer_over(source, target);
  write_model_weights(target, weights_to_write(model, dtype));
  write_file_atomic(target / "config.json", config.dump(2) + "\n");
} catch (const Error& e) {
  throw CheckpointError(e.what());  // a full disk and the like: the exit code of model files
}

void save_adapter(Model& model, const std::filesystem::path& source, const std::filesystem::path& target) try {
  carry_tokenizer_over(source, target);
  write_safetensors(target / kLoraWeightsFile, lora_to_write(model, Dtype::kF32));
  write_file_atomic(target / kLoraConfigFile, lora_config_json(model.lora().value(), source.string()));
} catch (const Error& e) {
  throw CheckpointError(e.what());
}

void save_trained(Model& model, const std::filesystem::path& source, const std::filesystem::path& target,
                  Dtype dtype) try {
  if (model.lora()) {
    save_adapter(model, source, target);
    remove_model_weights(target);
    remove_files(target, {"config.json", "generation_config.json"});
  } else {
    save_model(model, source, target, dtype);
    remove_files(target, {kLoraWeightsFile, kLoraConfigFile});
  }
} catch (const std::filesystem::filesystem_error& e) {
  throw CheckpointError(
      fmt::format("{}: {} ---> who loads {} would find the files of another training beside the "
                  "new ones",
                  e.path1().string(), e.code().message(), target.string()));
}

}  // namespace qtune
