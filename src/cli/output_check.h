// What a command may write over: never what it reads, never a model, and of other files only its own kind.
#pragma once

#include <string>
#include <vector>

namespace qtune {

enum class OutputKind { kScores, kThresholds, kPage };

/// What a command reads, as far as it lies in files.
struct CommandInputs {
  std::vector<std::string> files;    // "" and "-" (none, the standard input) are passed over
  std::vector<std::string> folders;  // of models and adapters: nothing in them may be written; "" is passed over
};

/// Whether `path`, which `option` names, may be written. Compared are places, not spellings: links and hard links count
/// as what they lead to. A pipe or a device may always be written; an empty file has nothing to lose.
/// Throws: ConfigError where the path is an input, lies in one of the folders, or is a file of another kind.
void check_output(const char* option, const std::string& path, OutputKind kind, const CommandInputs& inputs);

}  // namespace qtune
