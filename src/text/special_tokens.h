// Special tokens by name, as a checkpoint's tokenizer files have them.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace qtune {

struct SpecialTokens {
  std::filesystem::path folder;
  /// bos_token, eos_token, ... -> text, as transformers hands them to a template.
  std::vector<std::pair<std::string, std::string>> named;
  /// Texts of all tokens that are special, longest first.
  std::vector<std::string> all;

  /// "" when there is none.
  std::string find(const std::string& name) const;
};

/// From tokenizer_config.json and special_tokens_map.json. Throws: CheckpointError.
SpecialTokens read_named_tokens(const std::filesystem::path& folder);

/// With `all`, which takes tokenizer.json, too. Throws: CheckpointError.
SpecialTokens read_special_tokens(const std::filesystem::path& folder);

}  // namespace qtune
