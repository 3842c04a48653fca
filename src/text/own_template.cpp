#include "own_template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/json_text.h"
#include "qtune/jinja/template.h"
#include "special_tokens.h"
#include "turn_places.h"

namespace qtune {
namespace {

using nlohmann::json;

struct TemplateSource {
  std::filesystem::path file;
  std::string text;
};

[[noreturn]] void refuse_form(const std::filesystem::path& file) {
  throw CheckpointError(fmt::format(
      "{}: chat_template: expected a string, or a list with one named default, found something else", file.string()));
}

std::optional<TemplateSource> read_source(const std::filesystem::path& folder) {
  if (const auto file = folder / "chat_template.jinja"; std::filesystem::exists(file))
    return TemplateSource{file, read_file(file)};
  const auto file = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(file)) return std::nullopt;
  const json config = json::parse(read_json_text(file), nullptr, false);
  if (!config.is_object())
    throw CheckpointError(fmt::format("{}: expected a JSON object, found something else", file.string()));
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return TemplateSource{file, found->get<std::string>()};
  if (!found->is_array()) refuse_form(file);
  for (const json& entry : *found) {  // several by name
    if (entry.is_object() && entry.value("name", json()) == "default" && entry.contains("template") &&
        entry["template"].is_string())
      return TemplateSource{file, entry["template"].get<std::string>()};
  }
  refuse_form(file);
}

std::string one_line(std::string text) {
  constexpr size_t kMost = 400;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  if (text.size() <= kMost) return text;
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

/// Whether a template asks a message for `field`: message.field, message["field"], msg.field, messages[0].field.
bool asks_for(std::string_view source, const std::string& field) {
  for (size_t at = source.find(field); at != std::string_view::npos; at = source.find(field, at + 1)) {
    const size_t end = at + field.size();
    const char before = at > 0 ? source[at - 1] : ' ', behind = end < source.size() ? source[end] : ' ';
    if (is_word(before) || is_word(behind)) continue;
    std::string_view owner = source.substr(0, at);
    if (before == '.') {
      owner.remove_suffix(1);
    } else if (owner.ends_with("['") || owner.ends_with("[\"")) {
      owner.remove_suffix(2);
    } else {
      continue;
    }
    if (owner.ends_with("message") || owner.ends_with("msg") || owner.ends_with("]")) return true;
  }
  return false;
}

class OwnTemplate final : public ChatRenderer {
 public:
  OwnTemplate(TemplateSource source, SpecialTokens tokens)
      : file_(source.file.string()), source_(std::move(source.text)), tokens_(std::move(tokens)) {
    try {
      template_ = JinjaTemplate::parse(source_);
    } catch (const JinjaError& e) {
      refuse(e);
    }
  }

  RenderedText render(const std::vector<Message>& messages) const override {
    return find_turns(output(messages, false), messages, tokens_.all,
                      template_->has_generation() ? TurnMarks::kGenerationBlocks : TurnMarks::kContent);
  }
  std::string render_prompt(const std::vector<Message>& messages) const override { return output(messages, true).text; }
  bool depends_on_date() const override { return template_->uses_date(); }

 private:
  [[noreturn]] void refuse(const JinjaError& e) const {
    throw ConfigError(
        fmt::format("{}: chat_template, line {}: expected what qtune knows of Jinja, found: {} ---> name one of these "
                    "with template: {}",
                    file_, e.line(), one_line(e.what()), fmt::join(chat_template_names(), ", ")));
  }

  JinjaOutput output(const std::vector<Message>& messages, bool add_generation_prompt) const {
    JinjaLimits limits;
    std::vector<JinjaValue> list;
    list.reserve(messages.size());
    for (size_t i = 0; i < messages.size(); ++i) {
      const Message& m = messages[i];
      check_unread(m, i);
      list.push_back(
          JinjaValue::dict({{JinjaValue::view("role"), JinjaValue::view(role_name(m.role))},
                            {JinjaValue::view("content"), JinjaValue::view(m.content, static_cast<int32_t>(i))}}));
      const auto size = static_cast<int64_t>(m.content.size());
      limits.num_steps += 32 * size;
      limits.num_bytes += 64 * size;
    }
    JinjaContext context = {{"messages", JinjaValue::list(std::move(list))},
                            {"tools", JinjaValue::none()},
                            {"documents", JinjaValue::none()},
                            {"add_generation_prompt", JinjaValue::boolean(add_generation_prompt)}};
    for (const auto& [name, text] : tokens_.named) context.emplace_back(name, JinjaValue::view(text));
    try {
      return template_->render(context, limits);
    } catch (const JinjaError& e) {
      if (e.fault() == JinjaFault::kUnsupported) refuse(e);
      fail(e);
    }
  }

  /// Only role and content reach the template; what it would write of more must not be lost in silence.
  void check_unread(const Message& message, size_t index) const {
    for (const std::string& field : message.unread) {
      if (!asks_for(source_, field)) continue;
      throw DataError(
          fmt::format("expected messages of role and content, found \"{}\" in message {}, which the chat_template asks "
                      "for and qtune does not pass on ---> put it into the content (a thought as <think>...</think>), "
                      "or remove it",
                      field, index + 1));
    }
  }

  [[noreturn]] void fail(const JinjaError& e) const {
    if (e.fault() == JinjaFault::kRaised) {
      throw DataError(
          fmt::format("the chat_template refuses the conversation: {} ---> mend the record, or name another "
                      "template with template:",
                      one_line(e.what())));
    }
    throw DataError(
        fmt::format("expected a conversation that the chat_template can render, found: {} ({}, line {}) "
                    "---> mend the record, or name another template with template:",
                    one_line(e.what()), file_, e.line()));
  }

  std::string file_, source_;
  SpecialTokens tokens_;
  std::shared_ptr<const JinjaTemplate> template_;
};

}  // namespace

std::shared_ptr<const ChatRenderer> make_own_renderer(const std::filesystem::path& folder) {
  auto source = read_source(folder);
  if (!source) return nullptr;
  return std::make_shared<OwnTemplate>(std::move(*source), read_special_tokens(folder));
}

}  // namespace qtune
