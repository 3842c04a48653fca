// qtune inspect --config: samples beside their records, statistics, warnings.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "inspect.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/data/raw_record.h"
#include "qtune/formats/model_config.h"
#include "qtune/metrics/progress_bar.h"
#include "qtune/text/load_samples.h"
#include "qtune/text/sample_checks.h"
#include "qtune/text/sample_statistics.h"
#include "qtune/text/sample_view.h"
#include "qtune/train/config_options.h"
#include "streams.h"

namespace qtune {
namespace {

constexpr size_t kShown = 3, kRecordsAtOnce = 4096;
constexpr size_t kMostTokens = 600, kMostCharacters = 2400;  // of a sample that is not shown whole
constexpr int kLeastColumns = 100;                           // for two columns
constexpr size_t kTurnsLookedAt = 10000;

struct Inspected {
  LoadSamplesOptions options;
  LoadedSamples loaded;
  SampleCheckOptions checks;
  DecodeIds decode;  // empty: there is no tokenizer
};

/// Pre-tokenized samples are shown as text where the model folder has a tokenizer all the same.
std::shared_ptr<const Tokenizer> tokenizer_for(const LoadedSamples& loaded, const std::string& model_folder) {
  if (loaded.tokenizer) return loaded.tokenizer;
  try {
    return Tokenizer::load_tokenizer(model_folder);
  } catch (const Error&) {
    return nullptr;
  }
}

Inspected load_inspected(const LoadedConfig& loaded_config) {
  const TrainConfig& config = loaded_config.config;
  const ModelConfig model = read_model_config(config.model_name_or_path);
  Inspected data{.options = sample_options(loaded_config, DatasetUse::kTraining, model)};
  // Data that training would refuse is shown, too: that is when it is looked at.
  LoadSamplesOptions lenient = data.options;
  lenient.max_untrained_fraction = 1.0;
  data.loaded = load_samples(lenient);
  data.loaded.tokenizer = tokenizer_for(data.loaded, config.model_name_or_path);
  data.checks = sample_check_options(data.loaded, data.options);
  if (data.loaded.tokenizer) {
    data.decode = [tokenizer = data.loaded.tokenizer](std::span<const int32_t> ids) { return tokenizer->decode(ids); };
  }
  return data;
}

bool is_called(const SampleId& id, const std::string& name) {
  return id.name() == name || id.place() == name || id.place().ends_with("/" + name);
}

std::vector<size_t> find_samples(const SampleSet& samples, const std::vector<std::string>& names) {
  std::vector<size_t> found(names.size(), samples.size());
  for (size_t i = 0, missing = names.size(); i < samples.size() && missing > 0; ++i) {
    const TokenizedSample sample = samples[i];
    for (size_t k = 0; k < names.size(); ++k) {
      if (found[k] < samples.size() || !is_called(sample.id, names[k])) continue;
      found[k] = i;
      --missing;
    }
  }
  for (size_t k = 0; k < names.size(); ++k) {
    if (found[k] < samples.size()) continue;
    throw ConfigError(fmt::format(
        "--sample: expected a sample's id or FILE:LINE, found \"{}\", which is none of the {} samples ---> it may have "
        "been left out (see the counts without --sample)",
        names[k], samples.size()));
  }
  return found;
}

std::vector<size_t> chosen_samples(const SampleSet& samples, const InspectDataOptions& options) {
  if (!options.sample_names.empty()) return find_samples(samples, options.sample_names);
  const size_t usual = options.form == SampleForm::kJsonLines ? samples.size() : kShown;
  const size_t wanted = options.num_shown >= 0 ? static_cast<size_t>(options.num_shown) : usual;
  std::vector<size_t> first(std::min(wanted, samples.size()));
  for (size_t i = 0; i < first.size(); ++i) first[i] = i;
  return first;
}

/// How samples are laid out and marked.
class SamplePrinter {
 public:
  SamplePrinter(const Inspected& data, const InspectDataOptions& options)
      : view_{.decode = data.decode,
              .special = data.checks.special,
              .borders = options.tokens ? TokenBorders::kShown : TokenBorders::kHidden,
              .max_tokens = options.full ? 0 : kMostTokens},
        max_characters_(options.full ? 0 : kMostCharacters) {
    const Terminal terminal = detect_terminal(stdout);
    const bool colour = options.colour == ColourUse::kAlways || (options.colour == ColourUse::kAuto && terminal.colour);
    const bool is_terminal = options.colour == ColourUse::kAlways || ::isatty(STDOUT_FILENO) == 1;
    style_ = colour ? MarkStyle::kColour : MarkStyle::kBrackets;
    columns_ = is_terminal && terminal.columns >= kLeastColumns ? terminal.columns : 0;
  }

  /// Empty `record`: it can't be shown.
  void print(const TokenizedSample& sample, const std::string& record) const {
    write_output(fmt::format("--- {}: {} tokens, {} trained\n", terminal_safe(sample.id.name()), sample.num_tokens(),
                             trainable_positions(sample).size()));
    const TextColumn rendered{.heading = "what the model sees", .spans = sample_spans(sample, view_)};
    const TextColumn raw{.heading = "record", .spans = record_spans(record, max_characters_)};
    if (columns_ > 0 && !record.empty()) {
      write_output(side_by_side(raw, rendered, columns_, style_) + "\n");
      return;
    }
    if (!record.empty()) print_block(raw);
    print_block(rendered);
    write_output("\n");
  }

 private:
  void print_block(const TextColumn& block) const {
    const std::vector<TextSpan> heading = {{.text = block.heading, .note = true}};
    write_output(marked_text(heading, style_) + ":\n" + marked_text(block.spans, style_) + "\n");
  }

  SampleViewOptions view_;
  size_t max_characters_;
  MarkStyle style_ = MarkStyle::kBrackets;
  int columns_ = 0;  // 0: one below the other
};

/// Empty where a record can't be read again (a pipe, a file that was changed).
std::vector<std::string> records_of(const std::vector<TokenizedSample>& samples) {
  std::vector<SampleId> ids;
  for (const TokenizedSample& sample : samples) ids.push_back(sample.id);
  try {
    return raw_records(ids);
  } catch (const Error& e) {
    spdlog::warn("the records are not shown: {}", e.what());
    return std::vector<std::string>(samples.size());
  }
}

void show_samples(const Inspected& data, const std::vector<size_t>& chosen, const InspectDataOptions& options) {
  const SamplePrinter printer(data, options);
  for (size_t begin = 0; begin < chosen.size(); begin += kRecordsAtOnce) {
    std::vector<TokenizedSample> samples;
    for (size_t k = begin; k < std::min(chosen.size(), begin + kRecordsAtOnce); ++k)
      samples.push_back(data.loaded.samples[chosen[k]]);
    const std::vector<std::string> records = records_of(samples);
    for (size_t k = 0; k < samples.size(); ++k) printer.print(samples[k], records[k]);
  }
}

void show_line(const std::string& name, const std::string& value) {
  write_output(fmt::format("{:<24} {}\n", name, value));
}

std::string turns_text(const SampleSet& samples) {
  const std::vector<size_t> indices = spread_indices(samples.size(), kTurnsLookedAt);
  int64_t num_turns = 0;
  for (const size_t i : indices) num_turns += num_ended_turns(samples[i]);
  const std::string of = indices.size() < samples.size() ? fmt::format(" ({} looked at)", indices.size()) : "";
  return fmt::format("{:.2f} a sample{}", static_cast<double>(num_turns) / static_cast<double>(indices.size()), of);
}

void show_statistics(const Inspected& data) {
  const SampleSet& samples = data.loaded.samples;
  const SampleCounts& counts = data.loaded.counts;
  const std::vector<int64_t> lengths = sample_lengths(samples);
  const LengthSummary summary = summarize_lengths(lengths);
  const int64_t num_tokens = samples.num_tokens(), num_trained = samples.num_trainable_tokens();
  const double percent =
      100.0 * static_cast<double>(num_trained) / static_cast<double>(std::max<int64_t>(1, num_tokens));
  write_output("tokens of a sample, number of samples\n" + length_histogram(lengths) + "\n");
  show_line("samples", std::to_string(samples.size()));
  show_line("tokens", std::to_string(num_tokens));
  show_line("trained tokens", fmt::format("{} ({:.1f} %)", num_trained, percent));
  show_line("tokens of a sample", fmt::format("mean {:.1f}, median {:.1f}, 95 % at most {}, longest {}", summary.mean,
                                              summary.median, summary.most_of_95_percent, summary.longest));
  show_line("trained ends of turn", turns_text(samples));
  show_line(fmt::format("truncated to {}", data.checks.cutoff_len), std::to_string(counts.num_truncated));
  show_line("left out, too long", std::to_string(counts.num_too_long));
  show_line("left out, none trained", std::to_string(counts.num_untrained));
  show_line("bad records skipped", std::to_string(counts.num_bad));
  show_line("duplicates", std::to_string(find_duplicates(samples).count));
  show_line("empty answers", std::to_string(count_empty(samples, data.decode)));
}

}  // namespace

int inspect_data(const InspectDataOptions& options) {
  const LoadedConfig loaded_config = load_train_config(options.config, options.overrides);
  log_notes(loaded_config);
  const Inspected data = load_inspected(loaded_config);
  const std::vector<size_t> chosen = chosen_samples(data.loaded.samples, options);
  if (options.form == SampleForm::kJsonLines) {
    for (const size_t i : chosen) write_output(sample_json_line(data.loaded.samples[i], data.decode) + "\n");
  } else {
    show_samples(data, chosen, options);
    if (options.sample_names.empty()) show_statistics(data);
  }
  for (const std::string& warning : sample_warnings(data.loaded.samples, data.checks)) spdlog::warn("{}", warning);
  return kExitOk;
}

}  // namespace qtune
