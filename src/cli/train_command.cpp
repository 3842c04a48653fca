// qtune train: see docs/config.md for the keys.
#include <unistd.h>

#include <cstdlib>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/config/load_config.h"
#include "qtune/dist/launch.h"
#include "qtune/train/dry_run.h"
#include "qtune/train/train.h"
#include "streams.h"

namespace qtune {
namespace {

int train(const LoadedConfig& loaded) {
  if (!loaded.config.dry_run) return run_training(loaded);
  const Launch launch = detect_launch([](const char* name) -> const char* { return std::getenv(name); });
  if (launch.rank > 0) return kExitOk;  // one says it for all
  log_notes(loaded);
  write_output(dry_run(loaded, isatty(STDOUT_FILENO) ? MarkStyle::kColour : MarkStyle::kBrackets, launch.world_size));
  flush_output();
  return kExitOk;
}

}  // namespace

void add_train_command(CLI::App& app, Action& action) {
  struct Arguments {
    std::string config;
    std::vector<std::string> overrides;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("train", "Fine-tune a model; later key=value arguments override the file");
  command->add_option("--config", arguments->config, "YAML file (qtune config lists its keys)")->required();
  command->add_option("overrides", arguments->overrides, "key=value ...");
  command->callback([arguments, &action] {
    action = [arguments] { return train(load_train_config(arguments->config, arguments->overrides)); };
  });
}

}  // namespace qtune
