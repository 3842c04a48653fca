#include "qtune/model/save_model.h"

#include <nlohmann/json.hpp>

#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune {
namespace {

constexpr const char* kCarriedFiles[] = {"generation_config.json",
                                         "tokenizer.json",
                                         "tokenizer_config.json",
                                         "special_tokens_map.json",
                                         "added_tokens.json",
                                         "vocab.json",
                                         "merges.txt",
                                         "tokenizer.model",
                                         "chat_template.jinja"};

}  // namespace

void save_model(Model& model, const std::filesystem::path& source, const std::filesystem::path& target,
                Dtype dtype) try {
  auto config = nlohmann::ordered_json::parse(read_file(source / "config.json"));
  // transformers 5 calls it dtype, transformers 4 torch_dtype; what the folder had is kept.
  config[config.contains("dtype") ? "dtype" : "torch_dtype"] = dtype_torch_name(dtype);
  for (const char* name : kCarriedFiles) {
    if (!std::filesystem::exists(source / name) || std::filesystem::equivalent(source, target)) continue;
    write_file_atomic(target / name, read_file(source / name));
  }
  write_model_weights(target, weights_to_write(model, dtype));
  write_file_atomic(target / "config.json", config.dump(2) + "\n");
} catch (const Error& e) {
  throw CheckpointError(e.what());  // a full disk and the like: the exit code of model files
}

}  // namespace qtune
