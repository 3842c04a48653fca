// Samples and their statistics as text for eyes: what `qtune inspect` shows.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "qtune/text/sample_store.h"

namespace qtune {

/// Token ids to text, special tokens written out. Gets whole runs, since a character may span several tokens.
using DecodeIds = std::function<std::string(std::span<const int32_t>)>;

/// For samples without a tokenizer: the ids themselves, with spaces between.
std::string ids_as_text(std::span<const int32_t> ids);

enum class MarkStyle {
  kColour,    // trained text in green (ANSI)
  kBrackets,  // trained text between U+27E6 and U+27E7
};

/// The sample's whole text with its trained runs marked. Safe for a terminal: control characters but newline and tab
/// are written as \xNN, bytes that are not UTF-8 as U+FFFD.
std::string marked_text(const TokenizedSample& sample, const DecodeIds& decode, MarkStyle style);

/// Horizontal bars, one line a range of lengths, with counts; at most `max_rows` ranges of equal, round width.
/// Empty: "" for no lengths.
std::string length_histogram(const std::vector<int64_t>& lengths, int max_rows = 10);

/// How many samples have the same tokens and the same trained tokens as an earlier one.
int64_t count_duplicates(const SampleSet& samples);

/// One line of JSON: {"id", "text", "input_ids", "labels"}; `text` null when `decode` is empty.
std::string sample_json_line(const TokenizedSample& sample, const DecodeIds& decode);

}  // namespace qtune
