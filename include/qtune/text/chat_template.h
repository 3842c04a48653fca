// Chat templates: a conversation as one text, with the places of what is trained carried along.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
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
  bool train = true;  // Message::train
};

struct RenderedText {
  std::string text;                  // the whole conversation, special tokens written out
  std::vector<AssistantTurn> turns;  // in order
  std::vector<TextRange> context;    // contents of all other messages, in order
};

/// One template, its special tokens filled in: plain text around each message. Immutable, may be shared by threads.
struct ChatTemplate {
  std::string name = {};            // LLaMA-Factory's name, or "chat_template" for the checkpoint's own
  std::string prefix = {};          // before everything
  std::string default_system = {};  // for a conversation without system text
  std::string system_before = {}, system_after = {};
  std::string user_before = {}, user_after = {};  // user_after ends with the assistant's header
  std::string answer_before = {};                 // trained: belongs to the response
  std::string empty_thought = {};                 // trained: before an answer that has no thought of its own
  std::string end_of_turn = {}, answer_after = {};
  bool system_in_user = false;  // the system text stands inside the first user message
  bool any_order = false;       // a loop over messages: any roles in any order, each with its role as header (ChatML)

  /// Throws: DataError with the record's place when the roles do not fit: named templates want an optional system
  /// message, then user and assistant in turns, ending with the assistant.
  RenderedText render(const Conversation& conversation) const;

  /// The messages and the header of the answer that a model shall write next.
  /// Throws: DataError when the roles do not fit (named templates: the last message must be the user's).
  std::string render_prompt(const std::vector<Message>& messages) const;
};

/// Names that `template:` takes.
std::vector<std::string> chat_template_names();

/// The template LLaMA-Factory has under `name`, or, for an empty `name`, the checkpoint's own `chat_template`
/// (chat_template.jinja, else tokenizer_config.json; the ChatML family is known, with or without a default system
/// text). Begin- and end-of-text tokens come from tokenizer_config.json or special_tokens_map.json. Throws: ConfigError
/// naming the templates there are, for an unknown name or a `chat_template` that is not known; CheckpointError for
/// malformed files.
ChatTemplate make_chat_template(const std::string& name, const std::filesystem::path& model_folder);

}  // namespace qtune
