// qtune inspect: the samples of a config as the model sees them, facts of a model, or the state of a run.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "inspect.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/model/model_config.h"
#include "qtune/text/load_samples.h"
#include "qtune/text/sample_view.h"
#include "qtune/train/config_options.h"
#include "streams.h"

namespace qtune {
namespace {

constexpr int64_t kDefaultShown = 3;

struct InspectArguments {
  std::string config, model;
  std::vector<std::string> positional;  // key=value with --config, else a run's folder
  int64_t step = 0;                     // of a run; 0: none
  int64_t num_shown = -1;               // -1: kDefaultShown, or all with --json
  bool json = false;
};

/// Statistics are shown for data that training would refuse, too: that is when they are looked at.
LoadedSamples load_for_inspection(const LoadedConfig& loaded_config) {
  const TrainConfig& config = loaded_config.config;
  const ModelConfig model = read_model_config(config.model_name_or_path);
  LoadSamplesOptions options = sample_options(loaded_config, DatasetUse::kTraining, model);
  const double allowed = options.max_untrained_fraction;
  options.max_untrained_fraction = 1.0;
  LoadedSamples loaded = load_samples(options);
  const SampleCounts& counts = loaded.counts;
  if (static_cast<double>(counts.num_untrained) > allowed * static_cast<double>(counts.num_records)) {
    spdlog::warn("{} of {} samples have no trained token: training would stop (more than {:.0f} %)",
                 counts.num_untrained, counts.num_records, 100 * allowed);
  }
  return loaded;
}

/// Pre-tokenized samples are shown as text where the model folder has a tokenizer all the same.
DecodeIds decoder_for(const LoadedSamples& loaded, const std::string& model_folder) {
  std::shared_ptr<const Tokenizer> tokenizer = loaded.tokenizer;
  if (!tokenizer) {
    try {
      tokenizer = Tokenizer::load_tokenizer(model_folder);
    } catch (const Error&) {
      return nullptr;
    }
  }
  return [tokenizer](std::span<const int32_t> ids) { return tokenizer->decode(ids); };
}

void show_sample(const TokenizedSample& sample, const DecodeIds& decode, MarkStyle style) {
  const size_t num_trained = trainable_positions(sample).size();
  write_output(fmt::format("--- {}: {} tokens, {} trained\n", sample.id.name(), sample.num_tokens(), num_trained));
  write_output(marked_text(sample, decode ? decode : ids_as_text, style) + "\n\n");
}

void show_statistics(const LoadedSamples& loaded, const TrainConfig& config) {
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < loaded.samples.size(); ++i) lengths.push_back(loaded.samples.num_tokens(i));
  write_output("tokens of a sample, number of samples\n" + length_histogram(lengths) + "\n");
  const auto line = [](const char* name, int64_t count) { write_output(fmt::format("{:<24} {}\n", name, count)); };
  line("samples", static_cast<int64_t>(loaded.samples.size()));
  line("tokens", loaded.samples.num_tokens());
  line("trained tokens", loaded.samples.num_trainable_tokens());
  line(fmt::format("truncated to {}", config.cutoff_len).c_str(), loaded.counts.num_truncated);
  line("left out, too long", loaded.counts.num_too_long);
  line("left out, none trained", loaded.counts.num_untrained);
  line("bad records skipped", loaded.counts.num_bad);
  line("duplicates", count_duplicates(loaded.samples));
}

int inspect_data(const InspectArguments& arguments) {
  const LoadedConfig loaded_config = load_train_config(arguments.config, arguments.positional);
  log_notes(loaded_config);
  const TrainConfig& config = loaded_config.config;
  const LoadedSamples loaded = load_for_inspection(loaded_config);
  const DecodeIds decode = decoder_for(loaded, config.model_name_or_path);
  const auto size = static_cast<int64_t>(loaded.samples.size());
  const int64_t wanted = arguments.num_shown >= 0 ? arguments.num_shown : arguments.json ? size : kDefaultShown;
  const auto num_shown = static_cast<size_t>(std::min(size, wanted));
  if (arguments.json) {
    for (size_t i = 0; i < num_shown; ++i) write_output(sample_json_line(loaded.samples[i], decode) + "\n");
  } else {
    const MarkStyle style = isatty(STDOUT_FILENO) ? MarkStyle::kColour : MarkStyle::kBrackets;
    for (size_t i = 0; i < num_shown; ++i) show_sample(loaded.samples[i], decode, style);
    show_statistics(loaded, config);
  }
  return kExitOk;
}

int show(const InspectArguments& arguments) {
  if (!arguments.model.empty()) {
    if (arguments.positional.empty()) return inspect_model(arguments.model);
    throw ConfigError(
        fmt::format("inspect: expected nothing besides --model, found \"{}\" ---> see qtune inspect --help",
                    arguments.positional[0]));
  }
  if (!arguments.config.empty()) return inspect_data(arguments);
  if (arguments.positional.size() != 1) {
    throw ConfigError(
        "inspect: expected --config FILE, --model FOLDER or a run's folder ---> see qtune inspect --help");
  }
  return inspect_run(arguments.positional[0], arguments.step);
}

int run_inspect(const InspectArguments& arguments) {
  const int exit_code = show(arguments);
  flush_output();
  return exit_code;
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Show a config's samples (--config), a model's facts (--model), or a run (RUN [--step N])");
  const auto a = std::make_shared<InspectArguments>();
  auto* config = command->add_option("--config", a->config, "Configuration file (YAML) whose dataset is shown");
  auto* model = command->add_option("--model", a->model, "Model folder: sizes, and the memory that training takes");
  model->excludes(config);
  command->add_option("-n", a->num_shown, "Samples shown (3; with --json all)")
      ->check(CLI::NonNegativeNumber)
      ->needs(config);
  command->add_flag("--json", a->json, "A line a sample: {\"id\", \"text\", \"input_ids\", \"labels\"}")->needs(config);
  command->add_option("--step", a->step, "Step of a run whose samples' fates are shown")
      ->check(CLI::PositiveNumber)
      ->excludes(config)
      ->excludes(model);
  command->add_option("RUN|key=value", a->positional, "A run's folder; with --config, keys in place of the file's");
  command->callback([a, &action] { action = [a] { return run_inspect(*a); }; });
}

}  // namespace qtune
