#include "qtune/formats/convert_to_gguf.h"

#include <fmt/format.h>

#include "gguf_general.h"
#include "gguf_model_write.h"
#include "gguf_tokenizer_write.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/base/temporary_name.h"
#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/safetensors.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kQuantizationVersion = 2;  // of ggml's blocks

/// llama.cpp's number for "mostly" this type.
int64_t file_type(GgmlType type) {
  switch (type) {
    case GgmlType::kF32:
      return 0;
    case GgmlType::kF16:
      return 1;
    case GgmlType::kQ8_0:
      return 7;
    case GgmlType::kBF16:
      return 32;
    default:
      throw Error(fmt::format("GGUF: expected F32, F16, BF16 or Q8_0 to write, found {}", ggml_type_name(type)));
  }
}

/// The type of the embedding; float64 has none of its own.
GgmlType type_of_folder(const ModelWeights& weights) {
  const TensorView* embedding = weights.find("model.embed_tokens.weight");
  if (embedding == nullptr) return GgmlType::kF32;
  return embedding->dtype == Dtype::kBF16  ? GgmlType::kBF16
         : embedding->dtype == Dtype::kF16 ? GgmlType::kF16
                                           : GgmlType::kF32;
}

void check_target(const fs::path& out) {
  std::error_code ignored;
  if (fs::is_directory(out, ignored)) {
    throw ConfigError(
        fmt::format("{}: expected a file to write, found a folder ---> give a name that ends in .gguf", out.string()));
  }
  if (fs::is_regular_file(out, ignored)) {  // perhaps the model's own weights; a pipe or a device is written into
    throw ConfigError(fmt::format(
        "{}: expected a new file, found one of that name ---> give another name or remove it first", out.string()));
  }
  if (out.extension() != ".gguf" && !fs::exists(out, ignored)) {  // a pipe or a device may have any name
    throw ConfigError(
        fmt::format("{}: expected a name that ends in .gguf ---> --to gguf writes one file", out.string()));
  }
  if (const fs::path parent = out.parent_path(); !parent.empty() && !fs::is_directory(parent, ignored)) {
    throw ConfigError(
        fmt::format("{}: expected a folder to write into, found none ---> make it first", parent.string()));
  }
}

void check_source(const fs::path& in) {
  std::error_code ignored;
  if (fs::is_directory(in, ignored)) return;
  if (!fs::exists(in, ignored)) {
    throw CheckpointError(fmt::format("{}: expected a model folder, found nothing ---> check the path", in.string()));
  }
  throw ConfigError(
      fmt::format("{}: expected a model folder, found a file ---> convert it to a folder first", in.string()));
}

/// llama.cpp attends to everything where these models have a window, and has no Llama 3 scaling for Qwen.
void check_attention(const ModelConfig& config, const fs::path& folder) {
  if (config.rope_scaling.type == RopeScalingType::kLlama3 && gguf_architecture(config) != "llama") {
    throw CheckpointError(
        fmt::format("{}: rope scaling llama3 of model_type {}: llama.cpp has no such model ---> "
                    "it can't be written as GGUF",
                    (folder / "config.json").string(), config.model_type));
  }
  if (config.sliding_window > 0 && config.sliding_window < config.max_positions) {
    spdlog::warn(
        "{}: llama.cpp has no sliding window for this architecture: texts of more than {} tokens are computed "
        "with full attention there",
        folder.string(), config.sliding_window);
  }
}

}  // namespace

ConvertSummary convert_hf_to_gguf(const fs::path& in, const fs::path& out, const GgufOutOptions& options) {
  check_source(in);
  check_target(out);
  const ModelConfig config = read_model_config(in);
  check_attention(config, in);
  const ModelWeights weights(in);
  const GgmlType type = options.type.value_or(type_of_folder(weights));
  std::optional<LoraAdapter> adapter;
  if (!options.adapter.empty()) check_belongs(adapter.emplace(options.adapter), weights);
  Float16Range range;
  const std::vector<GgufTensorToWrite> tensors =
      gguf_tensors(weights, config, type, adapter ? &*adapter : nullptr, range);

  ConvertSummary summary{.num_tensors = static_cast<int64_t>(tensors.size()),
                         .dtype = std::string(ggml_type_name(type)),
                         .tied = config.tied_embeddings,
                         .num_vocabulary = config.vocab_size,
                         .num_merged = adapter ? static_cast<int64_t>(adapter->modules().size()) : 0};
  for (const GgufTensorToWrite& tensor : tensors) summary.num_values += num_values(tensor.shape).value();

  GgufMetadata metadata;
  metadata.add_text("general.architecture", gguf_architecture(config));
  add_general_keys(metadata, in, summary.num_values);
  add_model_keys(metadata, config);
  metadata.add_uint32("general.file_type", file_type(type));
  metadata.add_uint32("general.quantization_version", kQuantizationVersion);
  add_tokenizer_keys(metadata, in, config);
  remove_leftovers(out);
  write_gguf(out, metadata, tensors);
  range.warn(out);
  return summary;
}

}  // namespace qtune
