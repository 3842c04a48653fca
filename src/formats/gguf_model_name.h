// A model's name taken apart, as llama.cpp's converter does for general.*. Internal to convert_hf_to_gguf.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qtune {

/// Of "HuggingFaceTB/SmolLM2-135M-Instruct": name "SmolLM2-135M-Instruct", organization "HuggingFaceTB", basename
/// "SmolLM2", size_label "135M", finetune "Instruct". Empty: not there.
struct GgufModelName {
  std::string name, organization, basename, finetune, version, size_label;
};

/// `num_values`: of the model; a size in the name that is far from it is taken for a context length.
GgufModelName parse_model_name(std::string_view id, int64_t num_values);

/// "my-tuned-model" -> "My Tuned Model"; words with capitals, and versions, stay.
std::string model_title(std::string_view name);

/// "135M", "8.0B": two digits or more.
std::string model_size_label(int64_t num_values);

}  // namespace qtune
