// What the front matter of a model card (README.md) says. Internal to convert_hf_to_gguf.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gguf_model_name.h"
#include "gguf_write.h"

namespace qtune {

struct GgufModelCard {
  GgufModelName names;
  std::string author, description;
  std::vector<std::pair<std::string, std::string>> texts;  // other keys under general.
  std::vector<std::string> tags, languages;
  struct Source {
    std::string name, version, organization, repo_url;
  };
  std::vector<Source> base_models, datasets;
};

/// Empty and ties: no file, no front matter, or one that is no YAML map gives an empty card.
GgufModelCard read_gguf_model_card(const std::filesystem::path& file, int64_t num_values);

/// License, sources, tags and languages.
void add_gguf_model_card(GgufMetadata& metadata, const GgufModelCard& card);

}  // namespace qtune
