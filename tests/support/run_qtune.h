// A qtune command run inside the test, from its arguments to its output and exit code.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "qtune/cli/cli.h"

namespace qtune {

struct CommandOutput {
  int exit_code;
  std::string out, err;
};

inline CommandOutput run_qtune(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "qtune");
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int exit_code = run_command_line(static_cast<int>(pointers.size()), pointers.data());
  std::string out = testing::internal::GetCapturedStdout();
  return {exit_code, std::move(out), testing::internal::GetCapturedStderr()};
}

}  // namespace qtune
