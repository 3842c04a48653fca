// LLaMA-Factory's templates by name.
#pragma once

#include <span>

#include "qtune/text/chat_template.h"

namespace qtune {

/// All known ones; {bos} and {eos} in their texts stand for the checkpoint's tokens.
std::span<const ChatTemplate> template_table();

/// Messages in ChatML, one after the other in any order, as most checkpoints' own templates have it.
ChatTemplate chatml_loop(const std::string& default_system);

}  // namespace qtune
