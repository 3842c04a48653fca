// qtune train: see docs/config.md for the keys.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/config/load_config.h"
#include "qtune/config/print_config.h"
#include "qtune/dist/launch.h"
#include "qtune/train/dry_run.h"
#include "qtune/train/train.h"
#include "streams.h"

namespace qtune {
namespace {

Launch launch_of_environment() {
  return detect_launch([](const char* name) -> const char* { return std::getenv(name); });
}

/// A run writes its settings to output_dir/config.yaml. A file as runs write it loses nothing by that; one of the
/// user's own would lose its comments, and the command line would get into it.
void check_config_is_kept(const std::string& file, const TrainConfig& config) {
  const std::filesystem::path written = std::filesystem::path(config.output_dir) / "config.yaml";
  std::error_code failed;
  if (!std::filesystem::equivalent(file, written, failed) || failed) return;
  try {
    if (read_file(file) == to_yaml(load_train_config(file).config)) return;
  } catch (const ConfigError&) {  // without the command line it is no whole config
  }
  throw ConfigError(
      fmt::format("output_dir: {}: the run would write its settings over --config {} ---> move that file elsewhere, or "
                  "give another output_dir",
                  config.output_dir, file));
}

/// All ranks of a host find the same faults in one file, and don't know each other yet: the first of the host says
/// them. That of another host waits, since most launchers end it when rank 0 has ended.
LoadedConfig load(const std::string& config, const std::vector<std::string>& overrides) {
  const Launch launch = launch_of_environment();
  try {
    LoadedConfig loaded = load_train_config(config, overrides);
    check_config_is_kept(config, loaded.config);
    return loaded;
  } catch (const Error& e) {
    if (launch.rank == 0) throw;
    if (launch.local_rank > 0) throw Error("", e.exit_code());
    std::this_thread::sleep_for(std::chrono::seconds(3));
    throw Error(fmt::format("rank {} (host {}): {}", launch.rank, launch.host, e.what()), e.exit_code());
  }
}

int train(const LoadedConfig& loaded) {
  if (!loaded.config.dry_run) return run_training(loaded);
  const Launch launch = launch_of_environment();
  if (launch.rank > 0) return kExitOk;  // one says it for all
  log_notes(loaded);
  write_output(dry_run(loaded, isatty(STDOUT_FILENO) ? MarkStyle::kColour : MarkStyle::kBrackets, launch));
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
  command->callback(
      [arguments, &action] { action = [arguments] { return train(load(arguments->config, arguments->overrides)); }; });
}

}  // namespace qtune
