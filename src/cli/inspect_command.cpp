// qtune inspect: the samples of a config as the model sees them, facts of a model, or the state of a run.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "inspect.h"
#include "number_range.h"
#include "qtune/base/error.h"
#include "streams.h"

namespace qtune {
namespace {

struct InspectArguments {
  InspectDataOptions data;
  InspectModelOptions model;
  std::vector<std::string> positional;  // key=value with --config, else a run's folder
  std::string colour = "auto";
  int64_t step = 0;  // of a run; 0: none
  bool json = false;
};

InspectDataOptions data_options(const InspectArguments& arguments) {
  InspectDataOptions options = arguments.data;
  options.overrides = arguments.positional;
  options.form = arguments.json ? SampleForm::kJsonLines : SampleForm::kText;
  options.colour = arguments.colour == "always"  ? ColourUse::kAlways
                   : arguments.colour == "never" ? ColourUse::kNever
                                                 : ColourUse::kAuto;
  return options;
}

int show(const InspectArguments& arguments) {
  if (!arguments.model.folder.empty()) {
    InspectModelOptions options = arguments.model;
    options.json = arguments.json;
    if (arguments.positional.empty()) return inspect_model(options);
    throw ConfigError(
        fmt::format("inspect: expected nothing besides --model, found \"{}\" ---> see qtune inspect --help",
                    arguments.positional[0]));
  }
  if (!arguments.data.config.empty()) return inspect_data(data_options(arguments));
  if (arguments.positional.size() != 1 || arguments.json) {
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

/// What only a config's samples have.
void add_data_options(CLI::App& command, InspectArguments& a, CLI::Option* config) {
  auto* count = command.add_option("-n", a.data.num_shown, "Samples shown (3; with --json all)");
  count->check(number_at_least(0))->needs(config);
  command.add_option("--sample", a.data.sample_names, "Shows this sample: its id, or FILE:LINE (may be given again)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->needs(config)
      ->excludes(count);
  auto* json = command.get_option("--json");
  command.add_flag("--tokens", a.data.tokens, "Shows where tokens end, with their ids")->needs(config)->excludes(json);
  command.add_flag("--full", a.data.full, "Shows long samples whole")->needs(config)->excludes(json);
  command.add_option("--color", a.colour, "Colours and columns as on a terminal: always, auto or never")
      ->check(CLI::IsMember({"always", "auto", "never"}))
      ->needs(config)
      ->excludes(json);
}

/// What only a model's memory estimate has.
void add_model_options(CLI::App& command, InspectModelOptions& m, CLI::Option* model) {
  const auto add = [&](const char* name, int64_t& value, const char* meaning) {
    command.add_option(name, value, meaning)->check(number_between(1, 1 << 24))->capture_default_str()->needs(model);
  };
  add("--batch-size", m.batch_size, "Samples of the micro-batch whose memory is estimated");
  add("--length", m.length, "Tokens of each of them; half of them are trained");
  add("--lora-rank", m.lora_rank, "Rank of the adapters, on all linear layers");
}

}  // namespace

void add_inspect_command(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Show a config's samples (--config), a model's facts (--model), or a run (RUN [--step N])");
  const auto a = std::make_shared<InspectArguments>();
  auto* config = command->add_option("--config", a->data.config, "Configuration file (YAML) whose dataset is shown");
  auto* model =
      command->add_option("--model", a->model.folder, "Model folder: sizes, and the memory that training takes");
  model->excludes(config);
  command->add_flag("--json", a->json,
                    "A line a sample: {\"id\", \"text\", \"input_ids\", \"labels\"}; of a model, one object");
  add_data_options(*command, *a, config);
  add_model_options(*command, a->model, model);
  command->add_option("--step", a->step, "Step of a run whose samples' fates are shown")
      ->check(number_at_least(1))
      ->excludes(config)
      ->excludes(model);
  command->add_option("RUN|key=value", a->positional, "A run's folder; with --config, keys in place of the file's");
  command->callback([a, &action] { action = [a] { return run_inspect(*a); }; });
}

}  // namespace qtune
