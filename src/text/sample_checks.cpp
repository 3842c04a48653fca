#include "qtune/text/sample_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/text/sample_statistics.h"

namespace qtune {
namespace {

constexpr double kManyDuplicates = 0.01, kManyTruncated = 0.5;
constexpr int64_t kMostTokens = int64_t{16} << 20;
constexpr size_t kLeastSamples = 100;

/// Samples with one fault.
struct Finding {
  int64_t count = 0;
  std::string first = {};

  void add(const TokenizedSample& sample) {
    if (++count == 1) first = sample.id.place();
  }
};

struct Findings {
  int64_t num_samples = 0;
  Finding endless, unknown_end, doubled_bos;
};

/// Whether an end of turn is several tokens, none of them special: its text is no token of this tokenizer.
bool has_unknown_end(const TokenizedSample& sample, const SpecialIds& special) {
  const size_t n = sample.input_ids.size();
  for (size_t begin = 0; begin < n;) {
    size_t end = begin;
    bool known = special.texts.empty();
    for (; end < n && sample.end_of_turn[end]; ++end) known = known || special.contains(sample.input_ids[end]);
    if (end - begin > 1 && !known) return true;
    begin = std::max(end, begin + 1);
  }
  return false;
}

Findings look_at(const SampleSet& samples, const SampleCheckOptions& options) {
  const int64_t mean = samples.num_tokens() / static_cast<int64_t>(samples.size()) + 1;
  const size_t affordable = std::max(kLeastSamples, static_cast<size_t>(kMostTokens / mean));
  Findings found;
  for (const size_t i : spread_indices(samples.size(), std::min(options.max_samples, affordable))) {
    const TokenizedSample sample = samples[i];
    const auto& ids = sample.input_ids;
    ++found.num_samples;
    const auto& ends = sample.end_of_turn;
    if (std::find(ends.begin(), ends.end(), 1) == ends.end()) found.endless.add(sample);
    if (has_unknown_end(sample, options.special)) found.unknown_end.add(sample);
    const auto bos = options.special.bos;
    if (bos && ids.size() > 1 && ids[0] == *bos && ids[1] == *bos) found.doubled_bos.add(sample);
  }
  return found;
}

std::string name_of(const SpecialIds& special, int32_t id) {
  const auto found = special.texts.find(id);
  return found == special.texts.end() ? fmt::format("id {}", id) : found->second;
}

void add_findings(const Findings& found, const SampleCheckOptions& options, std::vector<std::string>& warnings) {
  const int64_t looked_at = found.num_samples;
  if (found.endless.count == looked_at) {
    warnings.push_back(fmt::format(
        "no end of turn is trained in any of the {} samples looked at: the model would not learn to stop ---> choose a "
        "template that ends its answers; in pre-tokenized data give the end token a label",
        looked_at));
  } else if (found.endless.count > 0) {
    warnings.push_back(fmt::format(
        "no end of turn is trained in {} of the {} samples looked at, the first {}: they teach the model not to stop "
        "---> end their answers, in pre-tokenized data with a label for the end token",
        found.endless.count, looked_at, found.endless.first));
  }
  if (found.unknown_end.count > 0) {
    warnings.push_back(fmt::format(
        "the end of turn is ordinary text for this tokenizer in {} of the {} samples looked at, the first {}: it has "
        "no such token ---> choose the template that the model was made with",
        found.unknown_end.count, looked_at, found.unknown_end.first));
  }
  if (found.doubled_bos.count > 0) {
    warnings.push_back(fmt::format(
        "{0} of the {1} samples looked at start with {2} twice, the first {3} ---> take {2} out of the data where the "
        "template writes it",
        found.doubled_bos.count, looked_at, name_of(options.special, *options.special.bos), found.doubled_bos.first));
  }
}

void add_counted(const SampleCheckOptions& options, std::vector<std::string>& warnings) {
  const SampleCounts& counts = options.counts;
  const auto exceeds = [&](int64_t count, double share) {
    return static_cast<double>(count) > share * static_cast<double>(counts.num_records);
  };
  if (exceeds(counts.num_untrained, options.max_untrained_fraction)) {
    warnings.push_back(fmt::format(
        "{} of {} samples have no trained token: training would stop (more than {:.0f} %), the first is {} ---> raise "
        "cutoff_len, or check which turns are trained",
        counts.num_untrained, counts.num_records, 100 * options.max_untrained_fraction, counts.first_untrained));
  }
  if (exceeds(counts.num_truncated, kManyTruncated)) {
    warnings.push_back(fmt::format("{} of {} samples are cut to {} tokens ---> raise cutoff_len", counts.num_truncated,
                                   counts.num_records, options.cutoff_len));
  }
  if (counts.num_start_lost > 0) {
    warnings.push_back(fmt::format(
        "the first word of an answer is not trained in {} of {} samples, the first {}: its token begins with the "
        "template's space before the answer ---> train_on_prompt, or one of the templates that template: names",
        counts.num_start_lost, counts.num_records, counts.first_start_lost));
  }
  if (counts.num_special_in_text > 0) {
    warnings.push_back(fmt::format(
        "special tokens are written in the messages of {} of {} samples, the first {}: the model takes them for the "
        "template's ---> take them out of the data, unless they are meant",
        counts.num_special_in_text, counts.num_records, counts.first_special_in_text));
  }
}

}  // namespace

SampleCheckOptions sample_check_options(const LoadedSamples& loaded, const LoadSamplesOptions& options) {
  return {.counts = loaded.counts,
          .special = read_special_ids(options.model_folder, loaded.tokenizer.get()),
          .cutoff_len = options.tokenize.cutoff_len,
          .max_untrained_fraction = options.max_untrained_fraction};
}

std::vector<std::string> sample_warnings(const SampleSet& samples, const SampleCheckOptions& options) {
  std::vector<std::string> warnings;
  if (samples.empty()) return warnings;
  add_findings(look_at(samples, options), options, warnings);
  add_counted(options, warnings);
  const Duplicates duplicates = find_duplicates(samples);
  if (static_cast<double>(duplicates.count) > kManyDuplicates * static_cast<double>(samples.size())) {
    warnings.push_back(
        fmt::format("{} of {} samples are the same as an earlier one, the first {} ---> take them out, "
                    "unless they shall weigh more",
                    duplicates.count, samples.size(), samples[duplicates.first].id.place()));
  }
  return warnings;
}

}  // namespace qtune
