// From data files to tokenized samples: the one way in for training, scoring, evaluation and inspection.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "qtune/data/dataset_spec.h"
#include "qtune/data/mix.h"
#include "qtune/text/sample_store.h"
#include "qtune/text/tokenize_sample.h"
#include "qtune/text/tokenizer.h"

namespace qtune {

/// What happens to samples without a trained token.
enum class UntrainedSamples {
  kLeaveOut,  // counted and named; more than max_untrained_fraction of them is an error
  kKeep,      // scoring reports every sample
};

/// Whether a cache that fits is used, or made anew.
enum class CacheUse { kRead, kOverwrite };

struct LoadSamplesOptions {
  std::vector<DatasetSpec> datasets;
  MixOptions mix;                      // of the datasets; its sizes are not read
  std::filesystem::path model_folder;  // its tokenizer and template are read when the first conversation appears
  std::string template_name;           // "": the model's own
  TokenizeOptions tokenize;
  UntrainedSamples untrained = UntrainedSamples::kLeaveOut;
  double max_untrained_fraction = 0.05;
  int64_t vocab_size = 0;              // the model's; ids from it on are an error; 0: not checked
  int64_t max_positions = 0;           // the model's; a cutoff_len above it is a warning; 0: not checked
  int num_threads = 0;                 // 0: as many as the machine has
  std::filesystem::path cache_folder;  // "": nothing is kept on disk
  CacheUse cache_use = CacheUse::kRead;
};

/// Where tokenized samples are kept unless a config says otherwise: $QTUNE_CACHE, else $XDG_CACHE_HOME/qtune, else
/// ~/.cache/qtune. Empty, so nothing is kept, where QTUNE_CACHE is set to nothing or there is no home.
std::filesystem::path default_cache_folder();

struct LoadedSamples {
  SampleSet samples;                           // in the order of the files, or mixed
  std::shared_ptr<const Tokenizer> tokenizer;  // null when none was needed: pre-tokenized, or all from the cache
  SampleCounts counts;

  /// One line for the log: how many samples and tokens there are, and what was cut or left out.
  std::string summary() const;
};

/// Reads, renders, tokenizes and cuts all samples, on several threads; the result does not depend on their number. What
/// has been tokenized before with the same data file (path, size, time of change), tokenizer, template and options
/// comes from `cache_folder`, which several processes may use at once: one tokenizes, the others wait for it. Memory:
/// that of some thousand records, whatever the files' size; the samples themselves are memory-mapped. Bad records are
/// all named (the first thousand of a file), whether they are skipped or stop the run. Empty: no sample left is an
/// error. Throws: DataError with file:line for bad data, too many samples without a trained token, or a token id that
/// the model does not have; ConfigError for an unknown template; CheckpointError for a tokenizer that can't be read or
/// is larger than the model's vocabulary.
LoadedSamples load_samples(const LoadSamplesOptions& options);

}  // namespace qtune
