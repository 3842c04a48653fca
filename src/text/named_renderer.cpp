#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "template_table.h"

namespace qtune {
namespace {

std::string replace_all(std::string text, std::string_view pattern, std::string_view content) {
  for (size_t at = 0; (at = text.find(pattern, at)) != std::string::npos; at += content.size())
    text.replace(at, pattern.size(), content);
  return text;
}

void append_context(RenderedText& out, const std::string& content) {
  out.context.push_back({out.text.size(), out.text.size() + content.size()});
  out.text += content;
}

void append_answer(const NamedTemplate& t, const Message& message, RenderedText& out) {
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

void check_roles(const NamedTemplate& t, const std::vector<Message>& messages, size_t first, Role last) {
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

RenderedText render_turns(const NamedTemplate& t, const std::vector<Message>& messages, Role last) {
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

class NamedRenderer final : public ChatRenderer {
 public:
  explicit NamedRenderer(NamedTemplate named) : named_(std::move(named)) {}

  RenderedText render(const std::vector<Message>& messages) const override {
    return render_turns(named_, messages, Role::kAssistant);
  }
  std::string render_prompt(const std::vector<Message>& messages) const override {
    return render_turns(named_, messages, Role::kUser).text;
  }

 private:
  NamedTemplate named_;
};

}  // namespace

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

std::shared_ptr<const ChatRenderer> make_named_renderer(NamedTemplate named, const SpecialTokens& tokens) {
  std::string* texts[] = {&named.prefix, &named.system_after, &named.user_before, &named.user_after,
                          &named.end_of_turn};
  const bool uses_eos = std::any_of(std::begin(texts), std::end(texts),
                                    [](const std::string* s) { return s->find("{eos}") != std::string::npos; });
  // without a begin-of-text token LLaMA-Factory leaves its place empty
  const std::string bos = tokens.find("bos_token"), eos = tokens.find("eos_token");
  if (uses_eos && eos.empty()) {
    throw ConfigError(fmt::format("template {}: expected an eos_token in {}, found none", named.name,
                                  (tokens.folder / "tokenizer_config.json").string()));
  }
  for (std::string* s : texts) *s = replace_all(replace_all(*s, "{bos}", bos), "{eos}", eos);
  return std::make_shared<NamedRenderer>(std::move(named));
}

}  // namespace qtune
