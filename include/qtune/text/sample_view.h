// Samples as text for eyes: what `qtune inspect` shows, and its lines of JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "qtune/text/special_ids.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// Token ids to text, special tokens written out. Gets whole runs, since a character may span several tokens.
using DecodeIds = std::function<std::string(std::span<const int32_t>)>;

/// For samples without a tokenizer: the ids themselves, with spaces between.
std::string ids_as_text(std::span<const int32_t> ids);

/// Text that can't steer a terminal: control characters but newline and tab, and those that change the direction of
/// writing, as \xNN for each byte; bytes that are not UTF-8 as U+FFFD.
std::string terminal_safe(std::string_view text);

/// A stretch of text of one kind; safe for a terminal.
struct TextSpan {
  std::string text;
  bool trained = false;
  bool special = false;  // a special token
  bool note = false;     // not the sample's text but something said about it
};

enum class TokenBorders {
  kHidden,
  kShown,  // its id behind each token; tokens that share a character stand together
};

struct SampleViewOptions {
  DecodeIds decode = nullptr;  // empty: ids_as_text
  SpecialIds special = {};
  TokenBorders borders = TokenBorders::kHidden;
  size_t max_tokens = 0;  // the middle of a longer sample is left out, with a note; 0: nothing is
};

/// The sample's text in order.
std::vector<TextSpan> sample_spans(const TokenizedSample& sample, const SampleViewOptions& options);

/// A record's text, its middle left out, with a note, when it has more than `max_characters` (0: never).
std::vector<TextSpan> record_spans(std::string_view record, size_t max_characters);

enum class MarkStyle {
  kColour,    // ANSI: trained text green with its line ends visible, special tokens inverse, notes dim
  kBrackets,  // trained text between U+27E6 and U+27E7
};

/// The spans one after the other. No colour reaches over a line end.
std::string marked_text(std::span<const TextSpan> spans, MarkStyle style);

/// A whole sample's.
std::string marked_text(const TokenizedSample& sample, const DecodeIds& decode, MarkStyle style);

/// A block of text with its heading.
struct TextColumn {
  std::string heading;
  std::vector<TextSpan> spans;
};

/// Two columns in lines of less than `columns` cells, broken at the column's width as a terminal counts it (wide
/// characters take two cells, combining ones none).
std::string side_by_side(const TextColumn& left, const TextColumn& right, int columns, MarkStyle style);

/// One line of JSON: {"id", "text", "input_ids", "labels"}; `text` null when `decode` is empty.
std::string sample_json_line(const TokenizedSample& sample, const DecodeIds& decode);

}  // namespace qtune
