// What is fuzzed: one target a file format. The fuzzers (libfuzzer_entry.cpp) and the tests (replay_test.cpp) share
// them.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace qtune::fuzz {

/// How inputs are changed so that the changed one gets past the first check.
enum class Form { kBytes, kJson, kSafetensors };

struct Target {
  std::string_view name;       // also the folder of its corpus
  std::string_view file_name;  // what the reader looks for
  Form form;
  /// Writes what must lie beside the input, once.
  void (*prepare)(const std::filesystem::path& folder);
  /// Reads `folder`/file_name and uses what it says. Throws: qtune::Error when it is refused; std::logic_error when
  /// what was read breaks a promise.
  void (*read)(const std::filesystem::path& folder);
};

const std::vector<Target>& all_targets();

/// Throws: std::invalid_argument naming the targets there are.
const Target& find_target(std::string_view name);

}  // namespace qtune::fuzz
