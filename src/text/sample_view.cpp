#include "qtune/text/sample_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "unicode.h"

namespace qtune {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr size_t kMostTokensOfACharacter = 4;

/// Control characters, and those that change the direction of writing.
bool steers_terminal(uint32_t c) {
  return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c < 0xA0) || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2066 && c <= 0x2069);
}

/// The spans of a stretch of a sample's tokens.
class SpanMaker {
 public:
  SpanMaker(const TokenizedSample& sample, const SampleViewOptions& options, std::vector<TextSpan>& spans)
      : sample_(sample), options_(options), spans_(spans) {}

  void add_tokens(size_t begin, size_t end) {
    const bool borders = options_.borders == TokenBorders::kShown && options_.decode;
    for (size_t start = begin; start < end;) {
      const size_t stop = borders ? end_of_token(start, end) : end_of_run(start, end);
      TextSpan span = look_of(start);
      span.text = terminal_safe(text_of(start, stop));
      borders ? add_with_ids(std::move(span), start, stop) : spans_.push_back(std::move(span));
      start = stop;
    }
  }

 private:
  TextSpan look_of(size_t k) const {
    return {.text = "", .trained = sample_.trained[k] != 0, .special = options_.special.contains(sample_.input_ids[k])};
  }

  std::span<const int32_t> ids(size_t start, size_t stop) const {
    return std::span(sample_.input_ids).subspan(start, stop - start);
  }

  size_t end_of_run(size_t start, size_t end) const {
    const TextSpan look = look_of(start);
    size_t stop = start + 1;
    for (; stop < end; ++stop) {
      const TextSpan next = look_of(stop);
      if (next.trained != look.trained || next.special != look.special) break;
    }
    return stop;
  }

  /// A character that several tokens share is shown once.
  size_t end_of_token(size_t start, size_t end) const {
    const size_t most = std::min(end, start + kMostTokensOfACharacter);
    for (size_t stop = start + 1; stop <= most && sample_.trained[stop - 1] == sample_.trained[start]; ++stop) {
      if (terminal_safe(options_.decode(ids(start, stop))).find(kReplacement) == std::string::npos) return stop;
    }
    return start + 1;
  }

  /// Decoders that take a space away from the start of a text must not do so inside of one.
  std::string text_of(size_t start, size_t stop) const {
    if (!options_.decode) return ids_as_text(ids(start, stop));
    if (start == 0) return options_.decode(ids(start, stop));
    const std::string before = options_.decode(ids(start - 1, start)), both = options_.decode(ids(start - 1, stop));
    return both.starts_with(before) ? both.substr(before.size()) : options_.decode(ids(start, stop));
  }

  /// A token's line ends would put its id on the next line: they are shown, and follow behind the id.
  void add_with_ids(TextSpan span, size_t start, size_t stop) {
    const bool ends_line = span.text.find('\n') != std::string::npos;
    for (size_t at = 0; (at = span.text.find('\n', at)) != std::string::npos;) span.text.replace(at, 1, "⏎");
    TextSpan note{.text = fmt::format("‹{}›{}", ids_as_text(ids(start, stop)), ends_line ? "\n" : ""),
                  .trained = span.trained,
                  .note = true};
    spans_.push_back(std::move(span));
    spans_.push_back(std::move(note));
  }

  const TokenizedSample& sample_;
  const SampleViewOptions& options_;
  std::vector<TextSpan>& spans_;
};

/// Bytes of the first `count` characters.
size_t bytes_of(std::string_view text, size_t count) {
  size_t at = 0;
  for (; count > 0 && at < text.size(); --count) at += code_point_at(text.data() + at).length;
  return at;
}

}  // namespace

std::string ids_as_text(std::span<const int32_t> ids) { return fmt::format("{}", fmt::join(ids, " ")); }

std::string terminal_safe(std::string_view text) {
  const std::string valid = to_valid_utf8(text);
  std::string out;
  out.reserve(valid.size());
  for (size_t at = 0; at < valid.size();) {
    const auto [value, length] = code_point_at(valid.data() + at);
    if (steers_terminal(value)) {
      for (size_t k = 0; k < length; ++k) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(valid[at + k]));
    } else {
      out.append(valid, at, length);
    }
    at += length;
  }
  return out;
}

std::vector<TextSpan> sample_spans(const TokenizedSample& sample, const SampleViewOptions& options) {
  const size_t num_tokens = sample.input_ids.size();
  std::vector<TextSpan> spans;
  SpanMaker maker(sample, options, spans);
  if (options.max_tokens == 0 || num_tokens <= options.max_tokens) {
    maker.add_tokens(0, num_tokens);
    return spans;
  }
  const size_t head = options.max_tokens - options.max_tokens / 2, tail = num_tokens - options.max_tokens / 2;
  const auto trained = sample.trained.begin();
  const auto num_trained = std::count_if(trained + static_cast<std::ptrdiff_t>(head),
                                         trained + static_cast<std::ptrdiff_t>(tail), [](uint8_t t) { return t != 0; });
  maker.add_tokens(0, head);
  spans.push_back({.text = fmt::format("\n[... {} tokens, {} of them trained: --full ...]\n", tail - head, num_trained),
                   .note = true});
  maker.add_tokens(tail, num_tokens);
  return spans;
}

std::vector<TextSpan> record_spans(std::string_view record, size_t max_characters) {
  const std::string safe = terminal_safe(record);
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  const auto num_characters = static_cast<size_t>(std::count_if(safe.begin(), safe.end(), starts_character));
  if (max_characters == 0 || num_characters <= max_characters) return {{.text = safe}};
  const size_t num_tail = max_characters / 2, num_head = max_characters - num_tail;
  const size_t head = bytes_of(safe, num_head), tail = bytes_of(safe, num_characters - num_tail);
  return {{.text = safe.substr(0, head)},
          {.text = fmt::format("\n[... {} characters: --full ...]\n", num_characters - max_characters), .note = true},
          {.text = safe.substr(tail)}};
}

std::string sample_json_line(const TokenizedSample& sample, const DecodeIds& decode) {
  std::vector<int32_t> labels = sample.input_ids;
  for (size_t k = 0; k < labels.size(); ++k) {
    if (!sample.trained[k]) labels[k] = kIgnoreLabel;
  }
  nlohmann::ordered_json line;
  line["id"] = sample.id.name();
  if (sample.id.is_number) line["id"] = nlohmann::ordered_json::parse(sample.id.record);
  line["text"] = nullptr;
  if (decode) line["text"] = decode(sample.input_ids);
  line["input_ids"] = sample.input_ids;
  line["labels"] = labels;
  // Cut inside a character, a text need not be UTF-8.
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace qtune
