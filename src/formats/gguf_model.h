// What a GGUF file of the llama architecture says about the model. Internal to convert_gguf_to_hf.
#pragma once

#include <string>
#include <vector>

#include "float16_range.h"
#include "qtune/formats/gguf.h"
#include "qtune/formats/safetensors.h"

namespace qtune {

/// Dimensions, each checked to lie in 1..2^31-1.
struct GgufModelFacts {
  int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, intermediate = 0, layers = 0, context = 0, vocabulary = 0;
  double rms_norm_eps = 0, rope_theta = 0;
  bool tied = false;  // no output.weight
};

/// Throws: CheckpointError naming the file and what is missing, out of range or can't be converted.
GgufModelFacts read_gguf_facts(const GgufFile& file);

/// All tensors under their Hugging Face names, with shapes checked, made from `file` (which must outlive them) while
/// they are written. `range` sees the values that become float16, and must outlive them, too. Throws: CheckpointError
/// naming the file and a tensor that is missing, unknown or of another shape.
std::vector<TensorToWrite> gguf_model_tensors(const GgufFile& file, const GgufModelFacts& facts, Dtype dtype,
                                              Float16Range& range);

}  // namespace qtune
