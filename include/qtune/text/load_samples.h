// From data files to tokenized samples: the one way in for training, scoring, evaluation and inspection.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "qtune/data/dataset_spec.h"
#include "qtune/text/tokenize_sample.h"
#include "qtune/text/tokenized_sample.h"
#include "qtune/text/tokenizer.h"

namespace qtune {

/// What happens to samples without a trained token.
enum class UntrainedSamples {
  kLeaveOut,  // counted and named; more than max_untrained_fraction of them is an error
  kKeep,      // scoring reports every sample
};

struct LoadSamplesOptions {
  std::vector<DatasetSpec> datasets;   // read one after the other
  std::filesystem::path model_folder;  // its tokenizer and template are read when the first conversation appears
  std::string template_name;           // "": the model's own
  TokenizeOptions tokenize;
  UntrainedSamples untrained = UntrainedSamples::kLeaveOut;
  double max_untrained_fraction = 0.05;
  int64_t vocab_size = 0;     // the model's; ids from it on are an error; 0: not checked
  int64_t max_positions = 0;  // the model's; a cutoff_len above it is a warning; 0: not checked
  int num_threads = 0;        // 0: as many as the machine has
};

struct LoadedSamples {
  std::vector<TokenizedSample> samples;        // in the order of the files
  std::shared_ptr<const Tokenizer> tokenizer;  // null when all samples were pre-tokenized
  int64_t num_records = 0;                     // read and not bad
  int64_t num_bad = 0;                         // left out by OnBadData::kSkip
  int64_t num_truncated = 0;
  int64_t num_too_long = 0;   // left out by ExcessLength::kDrop
  int64_t num_untrained = 0;  // without a trained token

  int64_t num_tokens() const;
  /// Positions in T(x), over all samples.
  int64_t num_trainable_tokens() const;
  /// One line for the log: how many samples and tokens there are, and what was cut or left out.
  std::string summary() const;
};

/// Reads, renders, tokenizes and cuts all samples, on several threads; the result does not depend on their number.
/// Empty: no sample left is an error.
/// Throws: DataError with file:line for bad data, too many samples without a trained token, or a token id that the
/// model does not have; ConfigError for an unknown template; CheckpointError for a tokenizer that can't be read or is
/// larger than the model's vocabulary.
LoadedSamples load_samples(const LoadSamplesOptions& options);

}  // namespace qtune
