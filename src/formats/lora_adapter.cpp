#include "qtune/formats/lora_adapter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "lora_config_file.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "quote_name.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.", kA = ".lora_A.weight", kB = ".lora_B.weight";

std::string_view last_word(std::string_view name) { return name.substr(name.rfind('.') + 1); }

bool is_lora_module(std::string_view name) {
  return std::find(std::begin(kLoraModules), std::end(kLoraModules), name) != std::end(kLoraModules);
}

SafetensorsFile open_weights(const fs::path& folder) {
  const fs::path path = folder / kLoraWeightsFile;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    const bool pickled = fs::exists(folder / "adapter_model.bin", ignored);
    throw CheckpointError(fmt::format("{}: expected the adapter's weights, found {} ---> {}", path.string(),
                                      pickled ? "adapter_model.bin" : "no such file",
                                      pickled ? "save it as safetensors with PEFT" : "give the adapter's folder"));
  }
  return SafetensorsFile(path);
}

/// In small letters; empty for a path like "..". In the Hub's cache, models--OWNER--NAME/snapshots/HASH, it is NAME.
std::string model_name(const fs::path& path) {
  fs::path folder = path.lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  std::string name = folder.filename().string();
  const std::string cached = folder.parent_path().parent_path().filename().string();
  if (folder.parent_path().filename() == "snapshots" && cached.starts_with("models--")) {
    name = cached.substr(cached.rfind("--") + 2);
  }
  if (name == "." || name == "..") return "";
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

std::vector<float> floats_of(const TensorView& tensor) {
  std::vector<float> values(tensor.bytes.size() / dtype_size(tensor.dtype));
  to_floats(tensor.bytes, tensor.dtype, values);
  return values;
}

}  // namespace

double LoraConfig::scale() const {
  const double r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

bool LoraConfig::has_target(std::string_view module) const {
  return std::find(targets.begin(), targets.end(), module) != targets.end();
}

std::vector<std::string> lora_targets(const std::vector<std::string>& names) {
  const auto named = [&](std::string_view name) { return std::find(names.begin(), names.end(), name) != names.end(); };
  for (const std::string& name : names) {
    if (name == "all" || is_lora_module(name)) continue;
    throw ConfigError(fmt::format("lora_target: expected all, or some of {}, found {}",
                                  fmt::join(std::begin(kLoraModules), std::end(kLoraModules), ", "), quote_name(name)));
  }
  std::vector<std::string> targets;
  for (const std::string_view module : kLoraModules) {
    if (named("all") || named(module)) targets.emplace_back(module);
  }
  return targets;
}

std::string lora_a_name(std::string_view module) { return fmt::format("{}{}{}", kPrefix, module, kA); }
std::string lora_b_name(std::string_view module) { return fmt::format("{}{}{}", kPrefix, module, kB); }

LoraAdapter::LoraAdapter(const fs::path& folder)
    : config_(read_lora_config(folder / kLoraConfigFile)), file_(open_weights(folder)) {
  for (const TensorView& tensor : file_.tensors()) add_tensor(tensor);
  for (const auto& [name, module] : modules_) check_module(name, module);
  // PEFT takes patterns and parts of names as targets; the tensors tell what they matched.
  std::vector<std::string> found;
  for (const auto& [name, module] : modules_) found.emplace_back(last_word(name));
  if (found.empty()) throw CheckpointError(fmt::format("{}: expected LoRA tensors, found none", file_.path().string()));
  for (const std::string& target : config_.targets) {
    if (std::find(found.begin(), found.end(), target) != found.end()) continue;
    throw CheckpointError(fmt::format("{}: expected tensors of {}, one of the target_modules of {}, found none",
                                      file_.path().string(), target, kLoraConfigFile));
  }
  config_.targets = lora_targets(found);
}

void LoraAdapter::add_tensor(const TensorView& tensor) {
  const std::string_view name = tensor.name;
  const bool is_a = name.ends_with(kA);
  const size_t tail = is_a ? kA.size() : kB.size();
  const bool fits = name.starts_with(kPrefix) && (is_a || name.ends_with(kB)) && name.size() > kPrefix.size() + tail;
  const std::string_view module = fits ? name.substr(kPrefix.size(), name.size() - kPrefix.size() - tail) : "";
  if (!is_lora_module(last_word(module))) {
    throw CheckpointError(fmt::format("{}: tensor {}: expected LoRA weights of {} only", file_.path().string(),
                                      quote_name(tensor.name),
                                      fmt::join(std::begin(kLoraModules), std::end(kLoraModules), ", ")));
  }
  Module& entry = modules_[std::string(module)];
  (is_a ? entry.a : entry.b) = &tensor;
}

void LoraAdapter::check_module(const std::string& name, const Module& module) const {
  const std::string path = file_.path().string();
  for (const bool is_a : {true, false}) {
    const TensorView* tensor = is_a ? module.a : module.b;
    const std::string tensor_name = quote_name(is_a ? lora_a_name(name) : lora_b_name(name));
    if (tensor == nullptr) throw CheckpointError(fmt::format("{}: tensor {} is missing", path, tensor_name));
    const bool matrix = tensor->shape.size() == 2;
    if (!matrix || tensor->shape[is_a ? 0 : 1] != config_.rank) {
      throw CheckpointError(
          fmt::format("{}: tensor {}: expected shape {} (r of {}), found {}", path, tensor_name,
                      fmt::format(fmt::runtime(is_a ? "[{}, inputs]" : "[outputs, {}]"), config_.rank), kLoraConfigFile,
                      shape_text(tensor->shape)));
    }
    if (!is_floating(tensor->dtype)) {
      throw CheckpointError(fmt::format("{}: tensor {}: expected floating values, found {}", path, tensor_name,
                                        dtype_name(tensor->dtype)));
    }
  }
}

void warn_of_other_base(const LoraAdapter& adapter, const fs::path& folder) {
  const fs::path base = adapter.config().base_model;
  const std::string expected = model_name(base);
  std::error_code ignored;
  if (expected.empty() || expected == model_name(fs::absolute(folder)) || fs::equivalent(base, folder, ignored)) return;
  spdlog::warn("{}: the adapter was made for {}, not for {} ---> check that it is the same model",
               (adapter.weights_path().parent_path() / kLoraConfigFile).string(), quote_name(base.string()),
               folder.string());
}

void check_belongs(const LoraAdapter& adapter, const ModelWeights& weights) {
  for (const auto& [name, module] : adapter.modules()) {
    if (weights.find(name + ".weight") != nullptr) continue;
    throw CheckpointError(
        fmt::format("{}: expected the adapter of a weight of {}, found one of {} ---> the adapter "
                    "belongs to another model",
                    adapter.weights_path().string(), weights.folder().string(), quote_name(name)));
  }
  warn_of_other_base(adapter, weights.folder());
}

TensorToWrite merged_weight(const TensorView& tensor, const LoraAdapter& adapter, const std::string& module,
                            Dtype dtype) {
  const LoraAdapter::Module& part = adapter.modules().at(module);
  const std::vector<int64_t> expected = {part.b->shape[0], part.a->shape[1]};
  if (tensor.shape != expected || !is_floating(tensor.dtype)) {
    throw CheckpointError(
        fmt::format("{}: {}: expected the adapter of a floating weight of shape {}, found {} {} in "
                    "the model ---> the adapter belongs to another model",
                    adapter.weights_path().string(), quote_name(module), shape_text(expected), dtype_name(tensor.dtype),
                    shape_text(tensor.shape)));
  }
  TensorToWrite out{.name = tensor.name, .dtype = dtype, .shape = tensor.shape, .values = {}};
  const auto scale = static_cast<float>(adapter.config().scale());
  out.values = [&tensor, part, scale, dtype](const ByteSink& sink) {
    const std::vector<float> a = floats_of(*part.a), b = floats_of(*part.b);
    const auto rank = static_cast<size_t>(part.a->shape[0]), inputs = static_cast<size_t>(part.a->shape[1]);
    const size_t row_bytes = inputs * dtype_size(tensor.dtype);
    std::vector<float> row(inputs), change(inputs);
    std::vector<std::byte> bytes(inputs * dtype_size(dtype));
    for (size_t o = 0; o < static_cast<size_t>(tensor.shape[0]); ++o) {
      to_floats(tensor.bytes.subspan(o * row_bytes, row_bytes), tensor.dtype, row);
      std::fill(change.begin(), change.end(), 0.0f);
      for (size_t r = 0; r < rank; ++r) {
        const float factor = b[o * rank + r];
        const float* const row_a = a.data() + r * inputs;
        for (size_t i = 0; i < inputs; ++i) change[i] += factor * row_a[i];
      }
      for (size_t i = 0; i < inputs; ++i) row[i] += scale * change[i];
      from_floats(row, dtype, bytes);
      sink(bytes);
    }
    release_pages(tensor.bytes);
  };
  return out;
}

}  // namespace qtune
