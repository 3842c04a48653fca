// Tokenized samples kept on disk, so that a second start need not tokenize.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "qtune/text/load_samples.h"

namespace qtune {

/// All that the samples of `spec` depend on, as text: equal keys, equal samples. `model_files` is model_files_hash().
/// Empty when the data is no regular file.
std::string cache_key(const DatasetSpec& spec, const LoadSamplesOptions& options, const std::string& model_files);

/// Of the files that make tokenizer and template. A template that asks for the date brings the date in.
std::string model_files_hash(const std::filesystem::path& model_folder);

using MakeStore = std::function<std::shared_ptr<const SampleStore>(const std::filesystem::path& target)>;

/// The store kept under `key` in the options' cache folder, else what `make` makes at the path that it is given (""
/// where nothing is kept: no folder, no key, or the folder can't be written to, which is a warning).
/// Several processes: one makes, the others wait and take what it made, with CacheUse::kOverwrite too; where files
/// can't be locked, each makes, and the last one's stays.
std::shared_ptr<const SampleStore> open_or_make(const DatasetSpec& spec, const LoadSamplesOptions& options,
                                                const std::string& key, const MakeStore& make);

}  // namespace qtune
