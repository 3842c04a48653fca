// What is suspicious about a run's samples: said once, before it costs a training.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "qtune/text/load_samples.h"
#include "qtune/text/sample_store.h"
#include "qtune/text/special_ids.h"

namespace qtune {

struct SampleCheckOptions {
  SampleCounts counts = {};
  SpecialIds special = {};
  int64_t cutoff_len = 0;
  double max_untrained_fraction = 0.05;
  size_t max_samples = 10000;  // looked at token by token, spread evenly
};

/// The options for samples that were loaded with `options`: their counts, and the special tokens of the model folder.
SampleCheckOptions sample_check_options(const LoadedSamples& loaded, const LoadSamplesOptions& options);

/// One line for each fault that is found: how many samples, the first one's place, and what to do.
/// - No end of turn is trained, or not in all samples: the model would not learn to stop.
/// - An end of turn that this tokenizer has no token for.
/// - Two begin-of-text tokens at the start.
/// - More than max_untrained_fraction of the samples without a trained token, more than half of them cut, more than 1 %
///   duplicates.
/// - Special tokens written in the messages' text.
/// - Answers whose first word is not trained, because its token begins before the answer does.
/// Reads `max_samples` samples at most (less if they are long), else tables only. Empty: no fault.
std::vector<std::string> sample_warnings(const SampleSet& samples, const SampleCheckOptions& options);

}  // namespace qtune
