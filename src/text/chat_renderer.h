// What a ChatTemplate renders with: one of LLaMA-Factory's named ones, or the checkpoint's own.
#pragma once

#include <string>
#include <vector>

#include "qtune/text/chat_template.h"

namespace qtune {

class ChatRenderer {
 public:
  virtual ~ChatRenderer() = default;
  /// There is at least one message. Throws: DataError without the record's place; ConfigError.
  virtual RenderedText render(const std::vector<Message>& messages) const = 0;
  virtual std::string render_prompt(const std::vector<Message>& messages) const = 0;
  virtual bool depends_on_date() const { return false; }
};

const char* role_name(Role role);

}  // namespace qtune
