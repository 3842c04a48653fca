// Where the turns are in what a template rendered, told by where its bytes came from. The rules are in
// docs/templates.md.
#pragma once

#include <string>
#include <vector>

#include "qtune/data/record.h"
#include "qtune/jinja/template.h"
#include "qtune/text/chat_template.h"

namespace qtune {

/// What tells the answers in a template's output.
enum class TurnMarks {
  kContent,           // where the bytes of their contents went
  kGenerationBlocks,  // the template's own {% generation %} blocks
};

/// `output`: rendered from `messages`, whose contents have their index as source. `special_tokens`: longest first.
/// Throws: DataError when an answer stands in several places.
RenderedText find_turns(JinjaOutput output, const std::vector<Message>& messages,
                        const std::vector<std::string>& special_tokens, TurnMarks marks);

}  // namespace qtune
