#include "qtune/text/sample_statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <numeric>

namespace qtune {
namespace {

constexpr int64_t kMostTrainedOfEmpty = 32;

/// The smallest of 1, 2, 5, 10, 20, 50, ... that covers `span` in `rows` steps.
int64_t round_width(int64_t span, int rows) {
  int64_t width = 1;
  for (int k = 0; width * rows < span; ++k) width = k % 3 == 1 ? width / 2 * 5 : width * 2;
  return width;
}

bool says_nothing(const TokenizedSample& sample, const DecodeIds& decode) {
  std::vector<int32_t> content;
  for (size_t k = 1; k < sample.input_ids.size(); ++k) {
    if (sample.trained[k] && !sample.end_of_turn[k]) content.push_back(sample.input_ids[k]);
  }
  if (content.empty())
    return std::find(sample.end_of_turn.begin(), sample.end_of_turn.end(), 1) != sample.end_of_turn.end();
  return decode && decode(content).find_first_not_of(" \t\r\n") == std::string::npos;
}

}  // namespace

std::vector<int64_t> sample_lengths(const SampleSet& samples) {
  std::vector<int64_t> lengths(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) lengths[i] = samples.num_tokens(i);
  return lengths;
}

LengthSummary summarize_lengths(std::vector<int64_t> lengths) {
  if (lengths.empty()) return {};
  std::sort(lengths.begin(), lengths.end());
  const size_t n = lengths.size(), middle = n / 2;
  const double sum = std::accumulate(lengths.begin(), lengths.end(), 0.0);
  const auto value = [&](size_t k) { return static_cast<double>(lengths[k]); };
  return {.mean = sum / static_cast<double>(n),
          .median = n % 2 == 1 ? value(middle) : (value(middle - 1) + value(middle)) / 2,
          .most_of_95_percent = lengths[(95 * n + 99) / 100 - 1],
          .longest = lengths.back()};
}

std::string length_histogram(const std::vector<int64_t>& lengths, int max_rows) {
  if (lengths.empty()) return "";
  const auto [least, most] = std::minmax_element(lengths.begin(), lengths.end());
  // One row is kept in reserve: the first range starts at a multiple of the width, below the shortest sample.
  const int64_t width = round_width(*most - *least + 1, std::max(1, max_rows - 1));
  const int64_t first = *least / width;
  std::vector<int64_t> counts(static_cast<size_t>(*most / width - first + 1));
  for (const int64_t length : lengths) ++counts[static_cast<size_t>(length / width - first)];
  const int64_t highest = *std::max_element(counts.begin(), counts.end());
  const size_t digits = std::to_string(*most / width * width + width - 1).size();
  std::string text;
  for (size_t k = 0; k < counts.size(); ++k) {
    const int64_t start = (first + static_cast<int64_t>(k)) * width;
    const int64_t bar = counts[k] == 0 ? 0 : std::max<int64_t>(1, counts[k] * 40 / highest);
    const std::string range = width == 1 ? fmt::format("{:>{}}", start, digits)
                                         : fmt::format("{:>{}} to {:>{}}", start, digits, start + width - 1, digits);
    text += fmt::format("  {}  {:>7}  {}\n", range, counts[k], std::string(static_cast<size_t>(bar), '#'));
  }
  return text;
}

Duplicates find_duplicates(const SampleSet& samples) {
  struct Entry {
    uint64_t hash, source;
    size_t index;
    auto operator<=>(const Entry&) const = default;
  };
  std::vector<Entry> entries(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) entries[i] = {samples.hash(i), samples.source(i), i};
  std::sort(entries.begin(), entries.end());
  Duplicates duplicates{.first = samples.size()};
  for (size_t k = 1; k < entries.size(); ++k) {
    if (entries[k].hash != entries[k - 1].hash || entries[k].source == entries[k - 1].source) continue;
    ++duplicates.count;
    duplicates.first = std::min(duplicates.first, entries[k].index);
  }
  return duplicates;
}

int64_t count_empty(const SampleSet& samples, const DecodeIds& decode) {
  int64_t count = 0;
  for (size_t i = 0; i < samples.size(); ++i)
    count += samples.num_trainable_tokens(i) <= kMostTrainedOfEmpty && says_nothing(samples[i], decode);
  return count;
}

int64_t num_ended_turns(const TokenizedSample& sample) {
  const auto& ends = sample.end_of_turn;
  int64_t count = 0;
  for (size_t k = 0; k < ends.size(); ++k) count += ends[k] && (k + 1 == ends.size() || !ends[k + 1]);
  return count;
}

std::vector<size_t> spread_indices(size_t num_samples, size_t count) {
  std::vector<size_t> indices(std::min(num_samples, count));
  for (size_t k = 0; k < indices.size(); ++k) indices[k] = k * num_samples / indices.size();
  return indices;
}

}  // namespace qtune
