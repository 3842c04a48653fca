#include "turn_places.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "qtune/base/error.h"

namespace qtune {
namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";

/// Where an answer's content stands.
struct Place {
  size_t begin = 0, end = 0;
  size_t message = 0;
};

class TurnFinder {
 public:
  TurnFinder(const JinjaOutput& output, const std::vector<Message>& messages, const std::vector<std::string>& tokens,
             TurnMarks marks)
      : text_(output.text), output_(output), messages_(messages), tokens_(tokens), marks_(marks) {
    for (const JinjaSegment& s : output.segments) {
      if (s.end > s.begin) written_.push_back(s);
    }
  }

  std::vector<AssistantTurn> run() {
    const std::vector<Place> places = marks_ == TurnMarks::kContent ? content_places() : generated_places();
    std::vector<AssistantTurn> turns;
    for (size_t i = 0; i < places.size(); ++i) {
      const size_t next = i + 1 < places.size() ? places[i + 1].begin : text_.size();
      turns.push_back(turn_at(places[i], next));
    }
    add_dropped_last(places, turns);
    return turns;
  }

  std::vector<TextRange> context() const {
    std::vector<TextRange> out;
    for (const JinjaSegment& s : written_) {
      if (is_answer(s.source)) continue;
      if (!out.empty() && out.back().end == s.begin) {
        out.back().end = s.end;
      } else {
        out.push_back({s.begin, s.end});
      }
    }
    return out;
  }

 private:
  bool is_answer(int32_t source) const { return messages_[static_cast<size_t>(source)].role == Role::kAssistant; }

  /// From the first to the last byte of each answer's content.
  std::vector<Place> content_places() const {
    std::vector<Place> places;
    std::vector<uint8_t> seen(messages_.size(), 0);
    for (size_t i = 0; i < written_.size(); ++i) {
      const JinjaSegment& s = written_[i];
      if (!is_answer(s.source)) continue;
      const auto message = static_cast<size_t>(s.source);
      if (i > 0 && written_[i - 1].source == s.source) {
        places.back().end = s.end;
        continue;
      }
      if (seen[message]) {
        throw DataError(
            fmt::format("the chat_template writes the content of message {} in several places, expected one ---> name "
                        "another template with template:",
                        message + 1));
      }
      seen[message] = 1;
      places.push_back({begin_with_prefix(i), s.end, message});
    }
    add_empty(places, seen);
    return places;
  }

  /// Where the template cut off the content's start and then wrote the same itself (Qwen3's <think>), that belongs to
  /// the content; white space between them may differ, and does not count alone.
  size_t begin_with_prefix(size_t index) const {
    const JinjaSegment& s = written_[index];
    const std::string_view dropped =
        without_spaces_around(std::string_view(messages_[static_cast<size_t>(s.source)].content).substr(0, s.offset));
    const size_t before = index == 0 ? 0 : written_[index - 1].end;
    std::string_view own = text_.substr(before, s.begin - before);
    own = own.substr(0, own.find_last_not_of(kSpaces) + 1);
    return !dropped.empty() && own.ends_with(dropped) ? before + own.size() - dropped.size() : s.begin;
  }

  static std::string_view without_spaces_around(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
    return text.substr(0, text.find_last_not_of(kSpaces) + 1);
  }

  bool is_blank(size_t message) const {
    return messages_[message].content.find_first_not_of(kSpaces) == std::string::npos;
  }

  /// Answers without content stand where the template wrote their nothing.
  void add_empty(std::vector<Place>& places, std::vector<uint8_t>& seen) const {
    const size_t num_written = places.size();
    for (auto s = output_.segments.rbegin(); s != output_.segments.rend(); ++s) {
      const auto message = static_cast<size_t>(s->source);
      if (s->begin != s->end || !is_answer(s->source) || seen[message] || !is_blank(message)) continue;
      seen[message] = 1;
      places.push_back({s->begin, s->begin, message});
    }
    if (places.size() == num_written) return;
    std::stable_sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.begin < b.begin; });
  }

  /// The template's own {% generation %} blocks.
  std::vector<Place> generated_places() const {
    std::vector<Place> places;
    for (const auto& [begin, end] : output_.generated) {
      std::optional<size_t> message;
      for (const JinjaSegment& s : output_.segments) {
        if (message || s.begin < begin || s.end > end || !is_answer(s.source)) continue;
        if (s.end > s.begin || is_blank(static_cast<size_t>(s.source))) message = static_cast<size_t>(s.source);
      }
      if (!message) continue;
      const bool again = !places.empty() && places.back().message == *message;
      if (again && begin == end) continue;
      if (again && places.back().begin == places.back().end) places.pop_back();  // nothing, then something
      places.push_back({begin, end, *message});
    }
    return places;
  }

  /// Bytes of the special token at `at` that ends before `limit`; 0 when there is none.
  size_t token_at(size_t at, size_t limit) const {
    for (const std::string& token : tokens_) {
      if (token.size() <= limit - at && text_.substr(at, token.size()) == token) return token.size();
    }
    return 0;
  }

  size_t behind_spaces(size_t at, size_t limit) const { return std::min(text_.find_first_not_of(kSpaces, at), limit); }

  /// First byte of any other message's content at or behind `at`.
  size_t next_content(size_t at) const {
    const auto found =
        std::partition_point(written_.begin(), written_.end(), [&](const JinjaSegment& s) { return s.begin < at; });
    return found == written_.end() ? text_.size() : found->begin;
  }

  size_t last_content_before(size_t at) const {
    const auto found =
        std::partition_point(written_.begin(), written_.end(), [&](const JinjaSegment& s) { return s.end <= at; });
    return found == written_.begin() ? 0 : std::prev(found)->end;
  }

  AssistantTurn turn_at(const Place& place, size_t next_place) const {
    const size_t limit = std::max(place.end, std::min(next_content(place.end), next_place));
    AssistantTurn turn{.begin = place.begin,
                       .end_of_turn = place.end,
                       .end = place.end,
                       .behind = place.end,
                       .train = messages_[place.message].train};
    if (marks_ == TurnMarks::kGenerationBlocks && token_inside(place, turn)) {
      turn.behind = behind_spaces(turn.end, limit);
      return turn;
    }
    const size_t at = behind_spaces(place.end, limit);
    if (const size_t size = at < limit ? token_at(at, limit) : 0) {
      turn.end_of_turn = at;
      turn.end = at + size;
    }
    turn.behind = behind_spaces(turn.end, limit);
    return turn;
  }

  /// A generation block may end with the end-of-turn token, and white space behind it.
  bool token_inside(const Place& place, AssistantTurn& turn) const {
    const size_t low = std::max(place.begin, std::min(last_content_before(place.end), place.end));
    size_t end = place.end;
    while (end > low && kSpaces.find(text_[end - 1]) != std::string_view::npos) --end;
    for (const std::string& token : tokens_) {
      if (token.size() > end - low || text_.substr(end - token.size(), token.size()) != token) continue;
      turn.end_of_turn = end - token.size();
      turn.end = end;
      return true;
    }
    return false;
  }

  /// The last answer stays the last one for mask_history even where the template left it out.
  void add_dropped_last(const std::vector<Place>& places, std::vector<AssistantTurn>& turns) const {
    for (size_t m = messages_.size(); m-- > 0;) {
      if (messages_[m].role != Role::kAssistant) continue;
      const bool found = std::any_of(places.begin(), places.end(), [&](const Place& p) { return p.message == m; });
      const size_t end = text_.size();
      if (!found) turns.push_back({.begin = end, .end_of_turn = end, .end = end, .behind = end, .train = false});
      return;
    }
  }

  std::string_view text_;
  const JinjaOutput& output_;
  const std::vector<Message>& messages_;
  const std::vector<std::string>& tokens_;
  TurnMarks marks_;
  std::vector<JinjaSegment> written_;  // those that are not empty
};

}  // namespace

RenderedText find_turns(JinjaOutput output, const std::vector<Message>& messages,
                        const std::vector<std::string>& special_tokens, TurnMarks marks) {
  RenderedText out;
  {
    TurnFinder finder(output, messages, special_tokens, marks);
    out.turns = finder.run();
    out.context = finder.context();
  }
  out.text = std::move(output.text);
  return out;
}

}  // namespace qtune
