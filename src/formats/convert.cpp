#include "qtune/formats/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "float16_range.h"
#include "json_file.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/json_text.h"
#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/model_config.h"
#include "qtune/formats/output_folder.h"
#include "qtune/formats/safetensors.h"
#include "qtune/formats/tokenizer_files.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kChunkValues = 1 << 16;

/// 1,234,567.
std::string with_commas(int64_t value) {
  std::string text = std::to_string(value);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

TensorToWrite with_dtype(const TensorView& tensor, std::optional<Dtype> dtype, Float16Range& range) {
  TensorToWrite out{.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .values = {}};
  if (!dtype || *dtype == tensor.dtype || !is_floating(tensor.dtype)) {
    out.values = [&tensor](const ByteSink& sink) {
      sink(tensor.bytes);
      release_pages(tensor.bytes);
    };
    return out;
  }
  out.dtype = *dtype;
  out.values = [&tensor, &range, dtype](const ByteSink& sink) {
    const size_t from = dtype_size(tensor.dtype), to = dtype_size(*dtype), total = tensor.bytes.size() / from;
    std::vector<float> values(std::min(total, kChunkValues));
    std::vector<std::byte> bytes(values.size() * to);
    for (size_t start = 0; start < total; start += values.size()) {
      const size_t count = std::min(values.size(), total - start);
      to_floats(tensor.bytes.subspan(start * from, count * from), tensor.dtype, std::span(values).first(count));
      if (*dtype == Dtype::kF16) range.see(tensor.name, std::span(values).first(count));
      from_floats(std::span(values).first(count), *dtype, std::span(bytes).first(count * to));
      sink(std::span(bytes).first(count * to));
    }
    release_pages(tensor.bytes);
  };
  return out;
}

/// The weight with the adapter's part, rounded once.
TensorToWrite merged(const TensorView& tensor, const LoraAdapter& adapter, const std::string& module, Dtype dtype,
                     Float16Range& range) {
  TensorToWrite out = merged_weight(tensor, adapter, module, Dtype::kF32);
  out.dtype = dtype;
  out.values = [rows = std::get<std::function<void(const ByteSink&)>>(std::move(out.values)), name = tensor.name, dtype,
                &range](const ByteSink& sink) {
    std::vector<float> values;
    std::vector<std::byte> bytes;
    rows([&](std::span<const std::byte> row) {
      values.resize(row.size() / sizeof(float));
      bytes.resize(values.size() * dtype_size(dtype));
      to_floats(row, Dtype::kF32, values);
      if (dtype == Dtype::kF16) range.see(name, values);
      from_floats(values, dtype, bytes);
      sink(bytes);
    });
  };
  return out;
}

/// Configuration and text files beside the tokenizer's; weights, in whatever format, stay behind.
bool comes_along(const fs::directory_entry& entry) {
  constexpr std::array<std::string_view, 5> kExtensions = {".json", ".model", ".txt", ".jinja", ".md"};
  const std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
  if (!entry.is_regular_file() || name == "config.json" || name.ends_with(".index.json")) return false;
  if (name == "manifest.json" || name == "trainer_state.json") return false;  // a training checkpoint's own
  if (name == kLoraConfigFile) return false;                                  // transformers would look for its weights
  return name == "LICENSE" || std::find(kExtensions.begin(), kExtensions.end(), extension) != kExtensions.end();
}

void carry_files_over(const fs::path& in, const fs::path& out) {
  for (const fs::path& name : tokenizer_files(in)) carry_over(name, in, out);
  for (const fs::directory_entry& entry : fs::directory_iterator(in)) {
    const fs::path name = entry.path().filename();
    if (comes_along(entry) && !fs::exists(out / name)) carry_over(name, in, out);
  }
}

Json read_config(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    throw CheckpointError(
        fmt::format("{}: expected the model's config, found no such file ---> give a model folder", path.string()));
  }
  Json config = Json::parse(read_json_text(path, kMaxSettingsBytes), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    throw CheckpointError(
        fmt::format("{}: expected a JSON object ---> copy or download the file again", path.string()));
  }
  return config;
}

constexpr std::string_view kWeight = ".weight";

bool is_gguf(const fs::path& path) {
  std::array<char, 4> magic{};
  std::ifstream(path, std::ios::binary).read(magic.data(), magic.size());
  return std::string_view(magic.data(), magic.size()) == "GGUF";
}

}  // namespace

std::string ConvertSummary::describe() const {
  return fmt::format("{} tensors, {} values, {}, {} embeddings, vocabulary of {}{}", num_tensors,
                     with_commas(num_values), dtype, tied ? "tied" : "untied", with_commas(num_vocabulary),
                     num_merged > 0 ? fmt::format("; adapter merged into {} weights", num_merged) : "");
}

ConvertSummary convert_hf_to_hf(const fs::path& in, const fs::path& out, const ConvertOptions& options) {
  const ModelWeights weights(in);
  Json config = read_config(in / "config.json");
  if (options.dtype) set_config_dtype(config, *options.dtype);
  const TensorView* embedding = weights.find("model.embed_tokens.weight");
  ConvertSummary summary{.num_tensors = static_cast<int64_t>(weights.tensors().size()),
                         .dtype = options.dtype ? std::string(dtype_torch_name(*options.dtype)) : "as stored",
                         .tied = weights.find("lm_head.weight") == nullptr,
                         .num_vocabulary = embedding == nullptr || embedding->shape.empty() ? 0 : embedding->shape[0]};
  std::vector<TensorToWrite> tensors;
  Float16Range range;
  std::optional<LoraAdapter> adapter;
  if (!options.adapter.empty()) check_belongs(adapter.emplace(options.adapter), weights);
  for (const auto& [name, tensor] : weights.tensors()) {
    summary.num_values += num_values(tensor->shape).value();
    const std::string module = name.substr(0, name.ends_with(kWeight) ? name.size() - kWeight.size() : 0);
    if (adapter && adapter->modules().contains(module)) {
      tensors.push_back(merged(*tensor, *adapter, module, options.dtype.value_or(tensor->dtype), range));
      ++summary.num_merged;
    } else {
      tensors.push_back(with_dtype(*tensor, options.dtype, range));
    }
  }

  write_output_folder(out, [&](const fs::path& folder) {
    write_json_file(folder / "config.json", config, in);
    carry_files_over(in, folder);
    write_model_weights(folder, std::move(tensors), options.shard_bytes);
  });
  range.warn(out);
  return summary;
}

ConvertSummary convert_to_hf(const fs::path& in, const fs::path& out, const ConvertOptions& options) {
  std::error_code ignored;
  if (fs::is_directory(in, ignored)) return convert_hf_to_hf(in, out, options);
  if (!fs::exists(in, ignored)) {
    throw CheckpointError(
        fmt::format("{}: expected a GGUF file or a model folder, found nothing ---> check the path", in.string()));
  }
  if (!is_gguf(in)) {
    throw CheckpointError(
        fmt::format("{}: expected a GGUF file or a model folder, found another kind of file ---> give one "
                    "of the two",
                    in.string()));
  }
  if (!options.adapter.empty()) {
    throw ConfigError(
        fmt::format("{}: expected a model folder to merge an adapter into, found a GGUF file ---> convert "
                    "it to a folder first",
                    in.string()));
  }
  return convert_gguf_to_hf(in, out, options);
}

}  // namespace qtune
