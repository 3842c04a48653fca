// LoRA adapters in PEFT's layout: a folder with adapter_config.json and adapter_model.safetensors.
//
// A module's weight W (O, I) acts as W + scale * B A, with A (R, I) and B (O, R), R the rank.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/formats/safetensors.h"

namespace qtune {

inline constexpr const char* kLoraConfigFile = "adapter_config.json";
inline constexpr const char* kLoraWeightsFile = "adapter_model.safetensors";

/// The linear layers that can have an adapter, in the order of a decoder layer.
inline constexpr std::string_view kLoraModules[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                    "gate_proj", "up_proj", "down_proj"};

struct LoraConfig {
  int64_t rank = 8;
  double alpha = 16;
  double dropout = 0;                // of the adapter's input, in training
  std::vector<std::string> targets;  // of kLoraModules, in their order
  bool rslora = false;
  std::string base_model;  // as the adapter's file names the model below; empty: it does not

  /// alpha / rank, with rslora alpha / sqrt(rank).
  double scale() const;
  bool has_target(std::string_view module) const;
};

/// All of kLoraModules where `names` is {"all"}, else `names`, once each, in the order of kLoraModules.
/// Throws: ConfigError naming one that is not there.
std::vector<std::string> lora_targets(const std::vector<std::string>& names);

/// What PEFT reads as its LoraConfig. `base_model`: where the weights below the adapter are; may be empty.
std::string lora_config_json(const LoraConfig& config, const std::string& base_model);

/// PEFT's names of a module's two tensors; `module` as in "model.layers.0.self_attn.q_proj".
std::string lora_a_name(std::string_view module);
std::string lora_b_name(std::string_view module);

/// An adapter's files, checked against each other.
class LoraAdapter {
 public:
  /// Throws: CheckpointError naming the file and the key or tensor: missing, mis-shaped, or something that plain LoRA
  /// on linear layers does not have (DoRA, biases, other ranks for some modules, ...).
  explicit LoraAdapter(const std::filesystem::path& folder);

  struct Module {
    const TensorView* a = nullptr;
    const TensorView* b = nullptr;
  };

  const LoraConfig& config() const { return config_; }
  std::filesystem::path weights_path() const { return file_.path(); }

  /// By name, as in "model.layers.0.self_attn.q_proj".
  const std::map<std::string, Module, std::less<>>& modules() const { return modules_; }

 private:
  void add_tensor(const TensorView& tensor);
  void check_module(const std::string& name, const Module& module) const;

  LoraConfig config_;
  SafetensorsFile file_;
  std::map<std::string, Module, std::less<>> modules_;
};

/// Warns when the adapter's file names another model than the one in `folder`. Only the last part of a path or of a
/// Hub's name counts, in any case of letters.
void warn_of_other_base(const LoraAdapter& adapter, const std::filesystem::path& folder);

/// Warns as warn_of_other_base. Throws: CheckpointError naming a module of the adapter that the model lacks.
void check_belongs(const LoraAdapter& adapter, const ModelWeights& weights);

/// The weight `tensor` (O, I) with the module's part added, made piece by piece while it is written: float32
/// arithmetic, rounded once to `dtype`. Both must outlive the result. Throws: CheckpointError naming adapter and tensor
/// when the shapes do not fit.
TensorToWrite merged_weight(const TensorView& tensor, const LoraAdapter& adapter, const std::string& module,
                            Dtype dtype);

}  // namespace qtune
