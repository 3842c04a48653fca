// Chat templates: a conversation as one text, with the places of what is trained carried along.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "qtune/data/record.h"

namespace qtune {

/// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0, end = 0;
};

/// An assistant's turn in the rendered text. Trained is [begin, end): its content and the end-of-turn token behind it,
/// not the template's text that follows up to `behind` (ChatML's newline).
struct AssistantTurn {
  size_t begin = 0;
  size_t end_of_turn = 0;  // where the end-of-turn token starts; equal to `end` where the template has none
  size_t end = 0;
  size_t behind = 0;
  bool train = true;  // Message::train; false where the template left the content out
};

struct RenderedText {
  std::string text;                  // the whole conversation, special tokens written out
  std::vector<AssistantTurn> turns;  // in order
  std::vector<TextRange> context;    // contents of all other messages, in order
};

class ChatRenderer;

/// One template, its special tokens filled in. Immutable, may be shared by threads.
class ChatTemplate {
 public:
  ChatTemplate(std::string name, std::shared_ptr<const ChatRenderer> renderer)
      : name_(std::move(name)), renderer_(std::move(renderer)) {}

  /// LLaMA-Factory's name, or "chat_template" for the checkpoint's own.
  const std::string& name() const { return name_; }

  /// The template asks for today's date: what it renders depends on the day.
  bool depends_on_date() const;

  /// Where the trained bytes are is told in docs/templates.md. Throws: DataError with the record's place when the roles
  /// do not fit (named templates want an optional system message, then user and assistant in turns, ending with the
  /// assistant; a checkpoint's own says itself what it refuses) or the template fails; ConfigError for what the
  /// checkpoint's template uses and qtune does not know.
  RenderedText render(const Conversation& conversation) const;

  /// The messages and the header of the answer that a model shall write next.
  /// Throws: as render (named templates: the last message must be the user's).
  std::string render_prompt(const std::vector<Message>& messages) const;

 private:
  std::string name_;
  std::shared_ptr<const ChatRenderer> renderer_;
};

/// Names that `template:` takes.
std::vector<std::string> chat_template_names();

/// The template LLaMA-Factory has under `name`, or, for an empty `name`, the checkpoint's own `chat_template`
/// (chat_template.jinja, else tokenizer_config.json: a string, or of several the one named default), which renders what
/// transformers' apply_chat_template renders. Special tokens come from tokenizer_config.json or
/// special_tokens_map.json. Throws: ConfigError naming the templates there are, for an unknown name, a missing
/// `chat_template` or one that uses what qtune does not know; CheckpointError for malformed files.
ChatTemplate make_chat_template(const std::string& name, const std::filesystem::path& model_folder);

}  // namespace qtune
