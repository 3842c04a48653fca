#include "qtune/cli/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/ops/process_memory.h"

namespace qtune {
namespace {

constexpr const char* kVersion = "0.1.0";

/// One line on stderr; several faults of one file come as several lines.
int report(const std::string& message, int exit_code) {
  if (!message.empty()) spdlog::error("{}", message);  // empty: another rank has said it
  return exit_code;
}

/// What is wrong with the first argument, which names a command. CLI11 would only say that one is required.
std::optional<std::string> fault_of_command(const CLI::App& app, int argc, char** argv) {
  const std::string given = argc < 2 ? "" : argv[1];
  if (given.starts_with('-')) return std::nullopt;
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
    if (names.back() == given) return std::nullopt;
  }
  const std::string near = nearest_name(given, names);
  return fmt::format("expected a command ({}), found {} ---> {}", fmt::join(names, ", "),
                     given.empty() ? "none" : '"' + given + '"',
                     near.empty() ? "see qtune --help" : "did you mean " + near + "?");
}

/// "qtune inspect --help": of the innermost command that is named.
std::string help_of(const CLI::App& app, int argc, char** argv) {
  std::string words = "qtune";
  const CLI::App* command = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto inner = command->get_subcommands([&](const CLI::App* c) { return c->get_name() == word; });
    if (inner.empty()) break;
    words += " " + word;
    command = inner[0];
  }
  return words + " --help";
}

}  // namespace

int run_command_line(int argc, char** argv) {
  limit_library_memory();
  setup_logging();
  CLI::App app("qtune: supervised fine-tuning that prunes its data while it trains (Q-Tuning)", "qtune");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  Action action;
  add_train_command(app, action);
  add_score_command(app, action);
  add_select_command(app, action);
  add_sweep_command(app, action);
  add_inspect_command(app, action);
  add_report_command(app, action);
  add_eval_command(app, action);
  add_generate_command(app, action);
  add_chat_command(app, action);
  add_convert_command(app, action);
  add_tokenize_command(app, action);
  add_config_command(app, action);
  add_bench_command(app, action);
  if (const auto fault = fault_of_command(app, argc, argv)) return report(*fault, kExitUsage);
  try {
    app.parse(argc, argv);
    return action();
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    return report(fmt::format("{} ---> see {}", e.what(), help_of(app, argc, argv)), kExitUsage);
  } catch (const Error& e) {
    return report(e.what(), e.exit_code());
  } catch (const std::bad_alloc&) {
    return report("out of memory ---> lower per_device_train_batch_size or cutoff_len", kExitError);
  } catch (const std::exception& e) {
    // LibTorch's messages carry a stack trace behind their first line.
    const std::string message = e.what();
    return report(message.substr(0, message.find('\n')), kExitError);
  }
}

}  // namespace qtune
