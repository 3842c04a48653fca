#include "qtune/checkpoint/final_model.h"

#include <nlohmann/json.hpp>

#include "qtune/base/file.h"
#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/safetensors.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kNote = "final_model.json";

}  // namespace

bool holds_final_model(const fs::path& output_dir) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", kLoraWeightsFile}) {
    if (fs::exists(output_dir / name)) return true;
  }
  return false;
}

std::optional<int64_t> final_model_step(const fs::path& output_dir) {
  if (!holds_final_model(output_dir) || !fs::exists(output_dir / kNote)) return std::nullopt;
  const json note = json::parse(read_file(output_dir / kNote), nullptr, /*allow_exceptions=*/false);
  if (!note.is_object() || !note.contains("step") || !note["step"].is_number_integer()) return std::nullopt;
  return note["step"].get<int64_t>();
}

void note_final_model(const fs::path& output_dir, int64_t step) {
  write_file_atomic(output_dir / kNote, json{{"step", step}}.dump() + "\n");
}

void forget_final_model(const fs::path& output_dir) {
  if (fs::remove(output_dir / kNote)) sync_folder(output_dir);
}

void remove_final_model(const fs::path& output_dir) {
  forget_final_model(output_dir);
  remove_model_weights(output_dir);
  for (const char* name : {kLoraWeightsFile, kLoraConfigFile}) fs::remove(output_dir / name);
}

}  // namespace qtune
