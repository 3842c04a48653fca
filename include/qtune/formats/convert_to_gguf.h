// A GGUF file, for llama.cpp and what builds on it (Ollama, LM Studio), from a model folder.
#pragma once

#include <filesystem>
#include <optional>

#include "qtune/formats/convert.h"
#include "qtune/formats/gguf.h"

namespace qtune {

struct GgufOutOptions {
  std::optional<GgmlType> type;   // F32, F16, BF16 or Q8_0 of the matrices; default: as the folder stores them
  std::filesystem::path adapter;  // a LoRA adapter to merge into the weights; empty: none
};

/// Writes the file that llama.cpp's own converter makes of the folder: names, order of rows, metadata, tokenizer and
/// chat template. Norms and biases are F32. Q8_0 of rows that are no multiple of 32 becomes F16, as there. An adapter
/// is merged in float32 and rounded once. `out` appears whole or not at all; a pipe or a device is written into.
/// Throws: ConfigError when `out` is a file or a folder, or has another ending than .gguf; CheckpointError naming the
/// file and what can't be converted; Error (disk full). docs/gguf.md lists what is written, and where it differs.
ConvertSummary convert_hf_to_gguf(const std::filesystem::path& in, const std::filesystem::path& out,
                                  const GgufOutOptions& options = {});

}  // namespace qtune
