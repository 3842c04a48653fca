// Prompts of `generate`: from --prompt, from a file, or from the standard input.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qtune/data/record.h"

namespace qtune {

struct Prompt {
  std::string place;              // "prompts.jsonl:7", for messages
  std::vector<Message> messages;  // what goes through the template
  nlohmann::ordered_json shown;   // what the output line begins with: id, prompt or messages
};

/// One prompt a line of `path` (-: the standard input). Where the first line begins with {, each is a JSON object with
/// `column` (text), or "messages"; else each line is the prompt itself. Empty lines are skipped. Answers at the end of
/// "messages" are left out, which one line of the log says for the whole file.
/// Throws: DataError naming the file and the line.
std::vector<Prompt> read_prompts(const std::string& path, const std::string& column);

Prompt make_prompt(std::string text, std::string place);

}  // namespace qtune
