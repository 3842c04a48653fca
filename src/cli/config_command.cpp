// qtune config: every key, a configuration's effective values and their origins, or the docs page.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/config/print_config.h"
#include "streams.h"

namespace qtune {
namespace {

struct ConfigOptions {
  std::string config;
  std::vector<std::string> overrides;
  bool markdown = false;
};

void print(const std::string& text) {
  write_output(text);
  flush_output();
}

int run_config(const ConfigOptions& options) {
  if (options.markdown) {
    print(config_markdown());
    return kExitOk;
  }
  if (options.config.empty() && options.overrides.empty()) {
    print(config_key_list());
    return kExitOk;
  }
  std::optional<std::filesystem::path> file;
  if (!options.config.empty()) file = options.config;
  const LoadedConfig loaded = load_train_config(file, options.overrides);
  log_notes(loaded);
  print(to_yaml_with_origins(loaded));
  return kExitOk;
}

}  // namespace

void add_config_command(CLI::App& app, Action& action) {
  CLI::App* command =
      app.add_subcommand("config", "Every configuration key; with a file, its values and where each came from");
  const auto options = std::make_shared<ConfigOptions>();
  command->add_option("--config", options->config, "Configuration file (YAML)");
  command->add_option("overrides", options->overrides, "key=value, in place of the file's values");
  command->add_flag("--markdown", options->markdown, "Print the page docs/config.md");
  command->callback([options, &action] { action = [options] { return run_config(*options); }; });
}

}  // namespace qtune
