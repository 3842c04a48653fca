// LLaMA-Factory's templates by name.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "chat_renderer.h"
#include "special_tokens.h"

namespace qtune {

/// Plain text around each message.
struct NamedTemplate {
  std::string name = {};
  std::string prefix = {};          // before everything
  std::string default_system = {};  // for a conversation without system text
  std::string system_before = {}, system_after = {};
  std::string user_before = {}, user_after = {};  // user_after ends with the assistant's header
  std::string answer_before = {};                 // trained: belongs to the response
  std::string empty_thought = {};                 // trained: before an answer that has no thought of its own
  std::string end_of_turn = {}, answer_after = {};
  bool system_in_user = false;  // the system text stands inside the first user message
};

/// All known ones; {bos} and {eos} in their texts stand for the checkpoint's tokens.
std::span<const NamedTemplate> template_table();

/// Throws: ConfigError when the template needs an eos_token and there is none.
std::shared_ptr<const ChatRenderer> make_named_renderer(NamedTemplate named, const SpecialTokens& tokens);

}  // namespace qtune
