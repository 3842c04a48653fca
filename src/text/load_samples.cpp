#include "qtune/text/load_samples.h"

#include <fmt/format.h>

#include <numeric>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "sample_cache.h"
#include "tokenize_dataset.h"

namespace qtune {
namespace {

void warn_of_long_cutoff(const LoadSamplesOptions& options) {
  if (options.max_positions == 0 || options.tokenize.cutoff_len <= options.max_positions) return;
  spdlog::warn("cutoff_len {} is above the model's {} positions", options.tokenize.cutoff_len, options.max_positions);
}

void check_untrained(const LoadSamplesOptions& options, const SampleCounts& counts) {
  if (options.untrained == UntrainedSamples::kKeep || counts.num_untrained == 0) return;
  const double fraction = static_cast<double>(counts.num_untrained) / static_cast<double>(counts.num_records);
  if (fraction <= options.max_untrained_fraction) return;
  throw DataError(fmt::format(
      "{}: expected a trained token in at least {:.0f} % of the samples, found none in {} of {} "
      "---> raise cutoff_len, or check which turns are trained",
      counts.first_untrained, 100 * (1 - options.max_untrained_fraction), counts.num_untrained, counts.num_records));
}

/// The datasets lie in `samples` one after the other, with these sizes.
SampleSet mix(const SampleSet& samples, MixOptions options, std::vector<int64_t> sizes) {
  if (options.strategy == MixStrategy::kConcat) return samples;
  std::vector<int64_t> begins(sizes.size());
  std::exclusive_scan(sizes.begin(), sizes.end(), begins.begin(), int64_t{0});
  options.sizes = std::move(sizes);
  std::vector<int64_t> order;
  for (const MixedIndex& mixed : mix_order(options)) {
    order.push_back(begins[static_cast<size_t>(mixed.dataset)] + mixed.index);
  }
  return samples.pick(order);
}

}  // namespace

std::string LoadedSamples::summary() const {
  std::string text = fmt::format("{} samples, {} tokens, {} of them trained", samples.size(), samples.num_tokens(),
                                 samples.num_trainable_tokens());
  const auto add = [&](int64_t count, const char* what) {
    if (count > 0) text += fmt::format("; {} {}", count, what);
  };
  add(counts.num_truncated, "truncated");
  add(counts.num_too_long, "too long and left out");
  add(counts.num_untrained, "without a trained token");
  add(counts.num_bad, "bad and skipped");
  return text;
}

LoadedSamples load_samples(const LoadSamplesOptions& options) {
  warn_of_long_cutoff(options);
  const std::string model_files = options.cache_folder.empty() ? "" : model_files_hash(options.model_folder);
  LoadedSamples loaded;
  TextTools tools;
  std::vector<int64_t> sizes;
  for (const DatasetSpec& spec : options.datasets) {
    const std::string key = cache_key(spec, options, model_files);
    const auto store = open_or_make(spec, options, key, [&](const std::filesystem::path& target) {
      return tokenize_dataset(spec, options, tools, target, key);
    });
    loaded.counts += store->counts();
    loaded.samples.append(store);
    sizes.push_back(store->size());
  }
  check_untrained(options, loaded.counts);
  loaded.samples = mix(loaded.samples, options.mix, std::move(sizes));
  if (loaded.samples.empty()) {
    throw DataError(
        fmt::format("{}: expected at least one sample to be left, found none ({}) ---> check the data and cutoff_len",
                    options.datasets.empty() ? "dataset" : options.datasets.front().file, loaded.summary()));
  }
  loaded.tokenizer = tools.tokenizer;
  return loaded;
}

}  // namespace qtune
