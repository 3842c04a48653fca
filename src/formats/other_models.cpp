#include "other_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "qtune/formats/lora_adapter.h"
#include "quote_name.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// Names of the folder's files that end so, in order.
std::vector<std::string> files_with(const fs::path& folder, std::string_view extension) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(extension) && entry.is_regular_file(ignored)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

std::string found_instead(const fs::path& folder, const std::string& otherwise) {
  std::error_code ignored;
  if (fs::exists(folder / kLoraConfigFile, ignored)) {
    return fmt::format(
        "found {}, a LoRA adapter's ---> give the model below it, and this folder as the adapter: --model BASE "
        "--adapter {} (in a config: adapter_name_or_path)",
        kLoraConfigFile, folder.string());
  }
  if (const auto names = files_with(folder, ".gguf"); !names.empty()) {
    return fmt::format("found {} ---> make a folder of it: qtune convert {} NEW_FOLDER", quote_name(names[0]),
                       (folder / names[0]).string());
  }
  const auto pickled = [](const std::string& name) {
    return name.starts_with("pytorch_model") || (name.ends_with(".pth") && !name.starts_with("rng_state"));
  };
  for (const char* extension : {".bin", ".pth"}) {
    const auto names = files_with(folder, extension);
    const auto found = std::find_if(names.begin(), names.end(), pickled);
    if (found == names.end()) continue;
    return fmt::format("found {} ---> save it as safetensors with Python: {}", quote_name(*found),
                       found->ends_with(".bin")
                           ? "transformers.AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)"
                           : "transformers has a conversion script for each family of models");
  }
  return otherwise;
}

}  // namespace qtune
