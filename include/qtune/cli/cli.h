// The command line: one file a subcommand in src/cli/, all of them listed in src/cli/cli.cpp.
#pragma once

namespace qtune {

/// Parses, runs the subcommand, prints an error as one line on stderr. Returns the process's exit code (base/error.h).
int run_command_line(int argc, char** argv);

}  // namespace qtune
