#include "qtune/cli/cli.h"

#include <cstdio>
#include <exception>
#include <new>

#include "commands.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

constexpr const char* kVersion = "0.1.0";

/// One line on stderr; several faults of one file come as several lines.
int report(const std::string& message, int exit_code) {
  spdlog::error("{}", message);
  return exit_code;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  setup_logging();
  CLI::App app("qtune: supervised fine-tuning that prunes its data while it trains (Q-Tuning)", "qtune");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  Action action;
  add_train_command(app, action);
  add_score_command(app, action);
  add_select_command(app, action);
  add_inspect_command(app, action);
  add_generate_command(app, action);
  add_convert_command(app, action);
  add_tokenize_command(app, action);
  add_config_command(app, action);
  try {
    app.parse(argc, argv);
    return action();
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // --help, --version
    return report(std::string(e.what()) + " ---> see qtune --help", kExitUsage);
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
