#include "qtune/text/chat_template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "chat_renderer.h"
#include "own_template.h"
#include "qtune/base/error.h"
#include "template_table.h"

namespace qtune {

RenderedText ChatTemplate::render(const Conversation& conversation) const {
  try {
    if (conversation.messages.empty()) throw DataError("expected messages, found none");
    return renderer_->render(conversation.messages);
  } catch (const DataError& e) {
    throw DataError(fmt::format("{}: {}", conversation.id.place(), e.what()));
  }
}

std::string ChatTemplate::render_prompt(const std::vector<Message>& messages) const {
  if (messages.empty()) throw DataError("prompt: expected messages, found none");
  return renderer_->render_prompt(messages);
}

bool ChatTemplate::depends_on_date() const { return renderer_->depends_on_date(); }

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names;
  for (const NamedTemplate& t : template_table()) names.push_back(t.name);
  std::sort(names.begin(), names.end());
  return names;
}

ChatTemplate make_chat_template(const std::string& name, const std::filesystem::path& model_folder) {
  if (!name.empty()) {
    const auto table = template_table();
    const auto found = std::find_if(table.begin(), table.end(), [&](const NamedTemplate& t) { return t.name == name; });
    if (found == table.end()) {
      throw ConfigError(
          fmt::format("template: expected one of {}, found {}", fmt::join(chat_template_names(), ", "), name));
    }
    return {name, make_named_renderer(*found, read_named_tokens(model_folder))};
  }
  auto own = make_own_renderer(model_folder);
  if (!own) {
    throw ConfigError(
        fmt::format("template: expected one, found none, and {} has no chat_template ---> name one with template: {}",
                    model_folder.string(), fmt::join(chat_template_names(), ", ")));
  }
  return {"chat_template", std::move(own)};
}

}  // namespace qtune
