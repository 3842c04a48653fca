// What a command may write over: never what it reads, and of other files only its own kind.
#pragma once

#include <string>
#include <vector>

namespace qtune {

enum class OutputKind { kScores, kThresholds, kPage };

/// Whether `path`, which `option` names, may be written by a command that reads the files `inputs` ("" and "-", none
/// and the standard input, are passed over). Compared are places, not spellings: links and hard links count as what
/// they lead to. A pipe or a device may always be written; an empty file has nothing to lose. Throws: ConfigError where
/// the path is an input, or a file of another kind (one of a model, say).
void check_output(const char* option, const std::string& path, OutputKind kind, const std::vector<std::string>& inputs);

}  // namespace qtune
