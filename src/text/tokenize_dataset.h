// One data file into a store of tokenized samples.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "added_tokens.h"
#include "qtune/text/load_samples.h"

namespace qtune {

/// Tokenizer and template of the model folder, read at the first conversation: pre-tokenized data needs neither.
struct TextTools {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;
  AddedTokenFinder special_tokens;  // finds them in a text
};

/// Reads and tokenizes `spec` into a store at `target` ("": in memory), which will say that it was made from `key`.
/// Throws: as load_samples; StoreWriteError when `target` can't be written.
std::shared_ptr<const SampleStore> tokenize_dataset(const DatasetSpec& spec, const LoadSamplesOptions& options,
                                                    TextTools& tools, const std::filesystem::path& target,
                                                    const std::string& key);

}  // namespace qtune
