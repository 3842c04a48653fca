// A fixture's model whose output is not finite where one token stands.
#pragma once

#include <filesystem>

#include "support/model_folder.h"

namespace qtune {

/// llama_untied with NaN in the embedding of token `id`; other tokens are untouched.
inline void fixture_with_nan_embedding(int32_t id, const std::filesystem::path& folder) {
  WeightsToChange weights("llama_untied");
  WeightsToChange::Tensor& embedding = weights.at("model.embed_tokens.weight");
  weights.convert(embedding.name, Dtype::kF32);
  const size_t row = static_cast<size_t>(embedding.shape.at(1)) * sizeof(float);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(embedding.bytes.data() + static_cast<size_t>(id) * row, &nan, sizeof nan);
  weights.write(folder);
  write_config(folder, fixture_config("llama_untied"));
}

}  // namespace qtune
