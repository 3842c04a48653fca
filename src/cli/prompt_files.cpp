#include "prompt_files.h"

#include <fmt/format.h>

#include <iostream>
#include <iterator>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"

namespace qtune {
namespace {

using Json = nlohmann::ordered_json;

Role parse_role(const std::string& name) {
  if (name == "system") return Role::kSystem;
  if (name == "user") return Role::kUser;
  if (name == "assistant") return Role::kAssistant;
  if (name == "tool") return Role::kTool;
  throw DataError(fmt::format("expected a role of system, user, assistant or tool, found {:?}", name.substr(0, 80)));
}

std::vector<Message> parse_messages(const Json& list) {
  std::vector<Message> messages;
  if (!list.is_array() || list.empty()) throw DataError("\"messages\": expected a list of messages, found none");
  for (const Json& m : list) {
    const auto is_text = [&](const char* key) { return m.is_object() && m.contains(key) && m[key].is_string(); };
    if (!is_text("role") || !is_text("content")) {
      throw DataError("\"messages\": expected objects with texts \"role\" and \"content\", found another");
    }
    messages.push_back({parse_role(m["role"].get<std::string>()), m["content"].get<std::string>()});
  }
  return messages;
}

/// The answers behind the last question are what training data expects, not a part of the prompt. Returns whether there
/// were any.
bool drop_last_answers(Prompt& prompt) {
  const size_t before = prompt.messages.size();
  while (!prompt.messages.empty() && prompt.messages.back().role == Role::kAssistant) prompt.messages.pop_back();
  if (prompt.messages.size() == before) return false;
  if (prompt.messages.empty()) throw DataError("\"messages\": expected a message to answer, found answers alone");
  Json& shown = prompt.shown["messages"];
  shown.erase(shown.begin() + static_cast<std::ptrdiff_t>(prompt.messages.size()), shown.end());
  return true;
}

Prompt parse_object(const std::string& line, const std::string& column) {
  const Json record = Json::parse(line, nullptr, false);
  if (!record.is_object()) throw DataError("expected a JSON object, found something else");
  Prompt prompt;
  if (record.contains("id")) prompt.shown["id"] = record["id"];
  if (const auto text = record.find(column); text != record.end() && text->is_string()) {
    prompt.messages = {{Role::kUser, text->get<std::string>()}};
    prompt.shown["prompt"] = *text;
  } else if (const auto messages = record.find("messages"); messages != record.end()) {
    prompt.messages = parse_messages(*messages);
    prompt.shown["messages"] = *messages;
  } else {
    throw DataError(
        fmt::format("expected a text \"{}\", or \"messages\", found neither ---> name the prompts' column "
                    "with --column",
                    column));
  }
  return prompt;
}

/// Without a byte order mark, which would make JSON a plain text.
std::string read_all(const std::string& path) {
  std::string content;
  try {
    content = path == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {}) : read_file(path);
  } catch (const Error& e) {
    throw DataError(fmt::format("--prompts: {}", e.what()));
  }
  if (content.starts_with("\xEF\xBB\xBF")) content.erase(0, 3);
  return content;
}

}  // namespace

Prompt make_prompt(std::string text, std::string place) {
  Prompt prompt{.place = std::move(place), .messages = {}, .shown = {{"prompt", text}}};
  prompt.messages.push_back({Role::kUser, std::move(text)});
  return prompt;
}

std::vector<Prompt> read_prompts(const std::string& path, const std::string& column) {
  const std::string content = read_all(path), name = path == "-" ? "stdin" : path;
  std::vector<Prompt> prompts;
  bool json = false;
  int64_t number = 0, num_answered = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (prompts.empty()) json = line.starts_with('{');
    const std::string place = fmt::format("{}:{}", name, number);
    try {
      prompts.push_back(json ? parse_object(line, column) : make_prompt(line, place));
      prompts.back().place = place;
      num_answered += drop_last_answers(prompts.back()) ? 1 : 0;
    } catch (const DataError& e) {
      throw DataError(place + ": " + e.what());
    }
  }
  if (prompts.empty()) throw DataError(name + ": expected a prompt a line, found none");
  if (num_answered > 0) {
    spdlog::info("{}: conversations that end with an answer: {}; their last answers are not part of the prompts", name,
                 num_answered);
  }
  return prompts;
}

}  // namespace qtune
