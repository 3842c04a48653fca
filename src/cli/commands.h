// Each add_*_command declares one subcommand with its options. Parsing stores what to run in `action`; cli.cpp runs it,
// so that an error is reported in one place.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace qtune {

/// Runs the chosen subcommand, returns the exit code; failures are thrown as qtune::Error.
using Action = std::function<int()>;

void add_bench_command(CLI::App& app, Action& action);
void add_chat_command(CLI::App& app, Action& action);
void add_config_command(CLI::App& app, Action& action);
void add_convert_command(CLI::App& app, Action& action);
void add_eval_command(CLI::App& app, Action& action);
void add_generate_command(CLI::App& app, Action& action);
void add_inspect_command(CLI::App& app, Action& action);
void add_report_command(CLI::App& app, Action& action);
void add_score_command(CLI::App& app, Action& action);
void add_select_command(CLI::App& app, Action& action);
void add_sweep_command(CLI::App& app, Action& action);
void add_tokenize_command(CLI::App& app, Action& action);
void add_train_command(CLI::App& app, Action& action);

}  // namespace qtune
