#include "qtune/text/chat_template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "template_table.h"

namespace qtune {
namespace {

using nlohmann::json;

const char* role_name(Role role) {
  switch (role) {
    case Role::kSystem:
      return "system";
    case Role::kUser:
      return "user";
    case Role::kAssistant:
      return "assistant";
    case Role::kTool:
      break;
  }
  return "tool";
}

void append_context(RenderedText& out, const std::string& content) {
  out.context.push_back({out.text.size(), out.text.size() + content.size()});
  out.text += content;
}

void append_answer(const ChatTemplate& t, const Message& message, RenderedText& out) {
  AssistantTurn turn{.begin = out.text.size(), .train = message.train};
  out.text += t.answer_before;
  const auto mentions = [&](const char* tag) { return message.content.find(tag) != std::string::npos; };
  if (!mentions("<think>") && !mentions("</think>")) out.text += t.empty_thought;
  out.text += message.content;
  turn.end_of_turn = out.text.size();
  out.text += t.end_of_turn;
  turn.end = out.text.size();
  out.text += t.answer_after;
  turn.behind = out.text.size();
  out.turns.push_back(turn);
}

/// A loop over the messages, whatever their roles.
RenderedText render_loop(const ChatTemplate& t, const std::vector<Message>& messages) {
  RenderedText out;
  if (!t.default_system.empty() && messages.front().role != Role::kSystem)
    out.text += t.system_before + t.default_system + t.system_after;
  for (const Message& message : messages) {
    out.text += fmt::format("<|im_start|>{}\n", role_name(message.role));
    if (message.role == Role::kAssistant) {
      append_answer(t, message, out);
    } else {
      append_context(out, message.content);
      out.text += t.system_after;
    }
  }
  return out;
}

void check_roles(const ChatTemplate& t, const std::vector<Message>& messages, size_t first, Role last) {
  for (size_t i = first; i < messages.size(); ++i) {
    const Role expected = (i - first) % 2 == 0 ? Role::kUser : Role::kAssistant;
    if (messages[i].role == expected) continue;
    throw DataError(
        fmt::format("expected user and assistant in turns, as template {} has them, found {} as message {} ---> "
                    "mend the record",
                    t.name, role_name(messages[i].role), i + 1));
  }
  if (messages.size() == first || messages.back().role != last) {
    throw DataError(fmt::format("expected {} as the last message, found {}", role_name(last),
                                messages.size() == first ? "no message" : role_name(messages.back().role)));
  }
}

RenderedText render_turns(const ChatTemplate& t, const std::vector<Message>& messages, Role last) {
  const bool has_system = messages.front().role == Role::kSystem;
  const size_t first = has_system ? 1 : 0;
  check_roles(t, messages, first, last);
  RenderedText out;
  out.text = t.prefix;
  const auto append_system = [&] {
    if (has_system && !messages.front().content.empty()) {
      out.text += t.system_before;
      append_context(out, messages.front().content);
      out.text += t.system_after;
    } else if (!t.default_system.empty()) {
      out.text += t.system_before + t.default_system + t.system_after;
    }
  };
  if (!t.system_in_user) append_system();
  for (size_t i = first; i < messages.size(); ++i) {
    if (messages[i].role == Role::kAssistant) {
      append_answer(t, messages[i], out);
      continue;
    }
    out.text += t.user_before;
    if (t.system_in_user && i == first) append_system();
    append_context(out, messages[i].content);
    out.text += t.user_after;
  }
  return out;
}

/// A special token's text: a string, or an object that holds it as "content".
std::string token_text(const json& config, const char* key) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string())
    return (*found)["content"].get<std::string>();
  throw Error(fmt::format("{}: expected a string, found {}", key, found->dump(-1, ' ', true).substr(0, 80)));
}

/// A JSON object from a file; an empty one when there is no such file.
json read_object(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return json::object();
  json value = json::parse(read_file(file), nullptr, false);
  if (!value.is_object())
    throw CheckpointError(fmt::format("{}: expected a JSON object, found something else", file.string()));
  return value;
}

std::string special_token(const std::filesystem::path& folder, const char* key) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::filesystem::path file = folder / name;
    try {
      if (std::string text = token_text(read_object(file), key); !text.empty()) return text;
    } catch (const CheckpointError&) {
      throw;
    } catch (const Error& e) {
      throw CheckpointError(fmt::format("{}: {}", file.string(), e.what()));
    }
  }
  return "";
}

std::string replace_all(std::string text, std::string_view pattern, std::string_view content) {
  for (size_t at = 0; (at = text.find(pattern, at)) != std::string::npos; at += content.size())
    text.replace(at, pattern.size(), content);
  return text;
}

void fill_in_tokens(ChatTemplate& t, const std::filesystem::path& folder) {
  std::string* texts[] = {&t.prefix, &t.system_after, &t.user_before, &t.user_after, &t.end_of_turn};
  const auto uses = [&](const char* name) {
    return std::any_of(std::begin(texts), std::end(texts),
                       [&](const std::string* s) { return s->find(name) != std::string::npos; });
  };
  // without a begin-of-text token LLaMA-Factory leaves its place empty
  const std::string bos = uses("{bos}") ? special_token(folder, "bos_token") : "";
  const std::string eos = uses("{eos}") ? special_token(folder, "eos_token") : "";
  if (uses("{eos}") && eos.empty()) {
    throw ConfigError(fmt::format("template {}: expected an eos_token in {}, found none", t.name,
                                  (folder / "tokenizer_config.json").string()));
  }
  for (std::string* s : texts) *s = replace_all(replace_all(*s, "{bos}", bos), "{eos}", eos);
}

std::optional<std::string> own_template(const std::filesystem::path& folder) {
  if (const auto file = folder / "chat_template.jinja"; std::filesystem::exists(file)) return read_file(file);
  const json config = read_object(folder / "tokenizer_config.json");
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {  // several by name
    for (const json& entry : *found) {
      if (entry.is_object() && entry.value("name", json()) == "default" && entry.contains("template") &&
          entry["template"].is_string()) {
        return entry["template"].get<std::string>();
      }
    }
  }
  throw CheckpointError(fmt::format("{}: chat_template: expected a string, found something else",
                                    (folder / "tokenizer_config.json").string()));
}

/// Takes `part` from the front of `text` when it stands there.
bool take(std::string_view& text, std::string_view part) {
  if (!text.starts_with(part)) return false;
  text.remove_prefix(part.size());
  return true;
}

/// The template as data when it is the ChatML loop, with or without a default system text; nullopt for any other.
std::optional<ChatTemplate> parse_chatml(const std::string& source) {
  // inside a Jinja string a line end and its escape are the same
  const std::string plain = replace_all(source, "\\n", "\n");
  std::string_view rest = plain;
  take(rest, "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}");
  if (!take(rest, "{% for message in messages %}")) return std::nullopt;
  std::string default_system;
  if (take(rest, "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n")) {
    constexpr std::string_view kEnd = "<|im_end|>\n' }}{% endif %}";
    const size_t end = rest.find(kEnd);
    if (end == std::string_view::npos) return std::nullopt;
    default_system = rest.substr(0, end);
    if (default_system.find_first_of("'\\") != std::string::npos) return std::nullopt;
    rest.remove_prefix(end + kEnd.size());
  }
  if (!take(rest, "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"))
    return std::nullopt;
  if (!take(rest, "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")) return std::nullopt;
  take(rest, "\n");  // a template file's last line end is not part of it
  return rest.empty() ? std::optional(chatml_loop(default_system)) : std::nullopt;
}

std::string name_list() { return fmt::format("{}", fmt::join(chat_template_names(), ", ")); }

}  // namespace

RenderedText ChatTemplate::render(const Conversation& conversation) const {
  try {
    if (conversation.messages.empty()) throw DataError("expected messages, found none");
    return any_order ? render_loop(*this, conversation.messages)
                     : render_turns(*this, conversation.messages, Role::kAssistant);
  } catch (const DataError& e) {
    throw DataError(fmt::format("{}: {}", conversation.id.place(), e.what()));
  }
}

std::string ChatTemplate::render_prompt(const std::vector<Message>& messages) const {
  if (messages.empty()) throw DataError("prompt: expected messages, found none");
  if (any_order) return render_loop(*this, messages).text + "<|im_start|>assistant\n";
  return render_turns(*this, messages, Role::kUser).text;
}

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names;
  for (const ChatTemplate& t : template_table()) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  return names;
}

ChatTemplate make_chat_template(const std::string& name, const std::filesystem::path& model_folder) {
  if (!name.empty()) {
    const auto table = template_table();
    const auto found = std::find_if(table.begin(), table.end(), [&](const ChatTemplate& t) { return t.name == name; });
    if (found == table.end())
      throw ConfigError(fmt::format("template: expected one of {}, found {}", name_list(), name));
    ChatTemplate filled = *found;
    fill_in_tokens(filled, model_folder);
    return filled;
  }
  const auto source = own_template(model_folder);
  const std::string advice = fmt::format("---> name one with template: {}", name_list());
  if (!source)
    throw ConfigError(fmt::format("template: expected one, found none, and {} has no chat_template {}",
                                  model_folder.string(), advice));
  auto known = parse_chatml(*source);
  if (!known)
    throw ConfigError(fmt::format("template: expected one, found none, and the chat_template of {} is not known {}",
                                  model_folder.string(), advice));
  return *known;
}

}  // namespace qtune
