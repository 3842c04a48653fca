#include "qtune/eval/text_stream.h"

#include <algorithm>

#include "qtune/base/error.h"

namespace qtune {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
/// A character has at most four bytes, so more undecided tokens than this are not one: they are let go as they are.
constexpr size_t kMostUndecided = 16;

/// Length of the longest end of `text` that is the beginning of a stop text.
size_t possible_stop(std::string_view text, const std::vector<std::string>& stop_texts) {
  size_t longest = 0;
  for (const std::string& stop : stop_texts) {
    for (size_t n = std::min(text.size(), stop.size() - 1); n > longest; --n) {
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, Options options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  std::erase(options_.stop_texts, "");
}

std::string TextStream::add(int32_t id) {
  if (stopped_ || options_.silent_ids.contains(id)) return {};
  window_.push_back(id);
  std::string text = tokenizer_.decode(window_);
  // A character whose last bytes are still to come decodes to U+FFFD.
  const bool undecided = text.size() <= context_.size() || text.ends_with(kReplacement);
  if (undecided && window_.size() - num_context_ < kMostUndecided) return {};
  std::string piece = text.size() <= context_.size() ? "" : text.substr(context_.size());
  window_.erase(window_.begin(), window_.begin() + static_cast<int64_t>(num_context_));
  num_context_ = window_.size();
  context_ = tokenizer_.decode(window_);
  return release(piece, false);
}

std::string TextStream::finish() {
  if (stopped_) return {};
  const std::string text = tokenizer_.decode(window_);
  window_.clear();
  const std::string piece = text.size() <= context_.size() ? "" : text.substr(context_.size());
  num_context_ = 0;
  context_.clear();
  return release(piece, true);
}

std::string TextStream::release(std::string_view settled, bool at_end) {
  held_ += settled;
  size_t end = held_.size();
  for (const std::string& stop : options_.stop_texts) {
    if (const size_t at = held_.find(stop); at < end) {
      end = at;
      stopped_ = true;
    }
  }
  if (!stopped_ && !at_end) end -= possible_stop(held_, options_.stop_texts);
  std::string out = held_.substr(0, end);
  held_.erase(0, end);
  text_ += out;
  return out;
}

std::optional<int32_t> end_of_turn_id(const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  Conversation example;
  example.messages = {{Role::kUser, "a"}, {Role::kAssistant, "b"}};
  try {
    const RenderedText rendered = chat_template.render(example);
    if (rendered.turns.empty()) return std::nullopt;
    const AssistantTurn& turn = rendered.turns.back();
    const std::string end = rendered.text.substr(turn.end_of_turn, turn.end - turn.end_of_turn);
    const std::vector<int32_t> ids = tokenizer.encode(end);
    return ids.size() == 1 ? std::optional(ids[0]) : std::nullopt;
  } catch (const DataError&) {
    return std::nullopt;  // a template that wants other roles
  }
}

}  // namespace qtune
