// In which order the samples of several datasets follow each other.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qtune {

/// Named as LLaMA-Factory's mix_strategy; the interleaving ones mean what `datasets.interleave_datasets` does.
enum class MixStrategy {
  kConcat,           // one after the other
  kInterleaveUnder,  // first_exhausted: ends when the first dataset has run out
  kInterleaveOver,   // all_exhausted: ends when the last one has; those that ran out start again
  kInterleaveOnce,   // all_exhausted_without_replacement: every sample exactly once
};

/// "concat", "interleave_under", "interleave_over", "interleave_once". Throws: ConfigError with the known names.
MixStrategy parse_mix_strategy(const std::string& name);
std::string to_string(MixStrategy strategy);

struct MixOptions {
  std::vector<int64_t> sizes;  // samples of each dataset
  MixStrategy strategy = MixStrategy::kConcat;
  std::vector<double> probabilities;  // of drawing from each dataset, sum 1; empty: they take turns
  uint64_t seed = 0;                  // of the draws
};

struct MixedIndex {
  int32_t dataset = 0;
  int64_t index = 0;
  bool operator==(const MixedIndex&) const = default;
};

/// The mixed sequence: within a dataset samples keep their order. A pure function; draws come from base/rng.h, so with
/// probabilities the sequence is not that of Python's library, but one of the same distribution.
/// Empty: one dataset is taken as it is, whatever the strategy. A dataset of probability 0 is never drawn.
/// Throws: ConfigError naming interleave_probs (their number, range, sum, a 0 where every dataset has to run out, or
/// so small that the sequence would have more than 100 times as many entries as there are samples) or mix_strategy;
/// DataError for a dataset without samples that would be drawn from.
std::vector<MixedIndex> mix_order(const MixOptions& options);

}  // namespace qtune
