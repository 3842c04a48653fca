// The tensors of a model folder as llama.cpp wants them. Internal to convert_hf_to_gguf.
#pragma once

#include <vector>

#include "float16_range.h"
#include "gguf_write.h"
#include "qtune/formats/lora_adapter.h"
#include "qtune/formats/model_config.h"

namespace qtune {

/// "llama" for llama and mistral, else the model type itself.
std::string gguf_architecture(const ModelConfig& config);

/// All tensors under llama.cpp's names, in order of their Hugging Face names (Llama 3's rotary factors first). They
/// read `weights` and `adapter` (null: none) while they are written; `range` then sees the values that become float16.
/// Throws: CheckpointError naming the folder and a tensor that is missing, unknown or of another shape.
std::vector<GgufTensorToWrite> gguf_tensors(const ModelWeights& weights, const ModelConfig& config, GgmlType type,
                                            const LoraAdapter* adapter, Float16Range& range);

/// The keys that describe the architecture, without general.* and the tokenizer.
void add_model_keys(GgufMetadata& metadata, const ModelConfig& config);

}  // namespace qtune
