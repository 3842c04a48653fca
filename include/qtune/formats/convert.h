// Model folders made from other models: from a GGUF file, or from a folder with weights of another type or in other
// shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "qtune/formats/dtype.h"
#include "qtune/formats/safetensors.h"

namespace qtune {

struct ConvertOptions {
  std::optional<Dtype> dtype;                 // F32, F16 or BF16; default: BF16 from GGUF, from a folder as stored
  uint64_t shard_bytes = kDefaultShardBytes;  // most bytes of one weights file; 0: all in one
  std::filesystem::path adapter;              // a LoRA adapter to merge into the weights; empty: none
};

struct ConvertSummary {
  int64_t num_tensors = 0;
  int64_t num_values = 0;
  std::string dtype;           // as in config.json, "as stored" where it was not changed
  bool tied = false;           // the head is the embedding
  int64_t num_vocabulary = 0;  // rows of the embedding; 0: there is none
  int64_t num_merged = 0;      // weights that an adapter was merged into

  /// "272 tensors, 134,515,008 values, bfloat16, tied embeddings, vocabulary of 49,152".
  std::string describe() const;
};

/// A Hugging Face folder (config.json, generation_config.json, weights, tokenizer.json, tokenizer_config.json) from a
/// GGUF file of the llama architecture with a byte-level BPE tokenizer. Rows of q and k go back from llama.cpp's order
/// (rotary pairs side by side) to Hugging Face's (halves apart). Quantised values are rounded once, to the asked type.
/// `out` appears whole or not at all.
/// Throws: CheckpointError naming the file and what can't be converted; ConfigError when `out` is taken; Error (disk
/// full).
ConvertSummary convert_gguf_to_hf(const std::filesystem::path& in, const std::filesystem::path& out,
                                  const ConvertOptions& options = {});

/// The same model with weights of another type or in other shards, or with an adapter merged into them (W + scale * B A
/// in float32, rounded once); JSON, tokenizer and text files come along.
/// Throws: as convert_gguf_to_hf; as LoraAdapter, and CheckpointError naming the adapter's module that does not fit.
ConvertSummary convert_hf_to_hf(const std::filesystem::path& in, const std::filesystem::path& out,
                                const ConvertOptions& options = {});

/// One of the two above, by what lies at `in`.
ConvertSummary convert_to_hf(const std::filesystem::path& in, const std::filesystem::path& out,
                             const ConvertOptions& options = {});

}  // namespace qtune
