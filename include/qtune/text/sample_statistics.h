// Counts over all samples of a run. Made from the table of samples, so that a million of them take no time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "qtune/text/sample_store.h"
#include "qtune/text/sample_view.h"

namespace qtune {

/// Tokens of each sample, in order.
std::vector<int64_t> sample_lengths(const SampleSet& samples);

/// Units: tokens. Empty: all 0.
struct LengthSummary {
  double mean = 0, median = 0;
  int64_t most_of_95_percent = 0;  // the least length that 95 % of the samples don't exceed
  int64_t longest = 0;
};
LengthSummary summarize_lengths(std::vector<int64_t> lengths);

/// Horizontal bars, one line a range of lengths, with counts; at most `max_rows` ranges of equal, round width.
/// Empty: "" for no lengths.
std::string length_histogram(const std::vector<int64_t>& lengths, int max_rows = 10);

struct Duplicates {
  int64_t count = 0;  // samples with the same tokens, trained and ending turns alike, as an earlier one
  size_t first = 0;   // of them; only when there are any
};
/// Told by 64-bit hashes. A sample that mixing picked several times is no duplicate of itself.
Duplicates find_duplicates(const SampleSet& samples);

/// Samples whose answers say nothing: what is trained is ends of turns and white space. Only samples with at most 32
/// trained tokens are looked at. With an empty `decode` white space counts as text.
int64_t count_empty(const SampleSet& samples, const DecodeIds& decode);

/// Trained ends of turn; a run of several tokens counts once.
int64_t num_ended_turns(const TokenizedSample& sample);

/// About `count` samples' indices (or all), spread evenly.
std::vector<size_t> spread_indices(size_t num_samples, size_t count);

}  // namespace qtune
