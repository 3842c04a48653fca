#include "qtune/text/sample_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace qtune {
namespace {

/// Length of the well-formed UTF-8 sequence at text[at], 0 when there is none.
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[at + k]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t k = 1; k < length; ++k) {
    if ((byte(k) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool beyond = (first == 0xED && byte(1) > 0x9F) || (first == 0xF4 && byte(1) > 0x8F);
  return overlong || beyond ? 0 : length;
}

std::string printable(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = utf8_length(text, at);
    const unsigned char c = static_cast<unsigned char>(text[at]);
    // U+0080 to U+009F are control characters too.
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7F ||
                         (length == 2 && c == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0);
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (control) {
      for (size_t k = 0; k < length; ++k) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[at + k]));
    } else {
      out.append(text, at, length);
    }
    at += std::max<size_t>(1, length);
  }
  return out;
}

/// The smallest of 1, 2, 5, 10, 20, 50, ... that covers `span` in `rows` steps.
int64_t round_width(int64_t span, int rows) {
  int64_t width = 1;
  for (int k = 0; width * rows < span; ++k) width = k % 3 == 1 ? width / 2 * 5 : width * 2;
  return width;
}

}  // namespace

std::string ids_as_text(std::span<const int32_t> ids) { return fmt::format("{}", fmt::join(ids, " ")); }

std::string marked_text(const TokenizedSample& sample, const DecodeIds& decode, MarkStyle style) {
  const char* open = style == MarkStyle::kColour ? "\x1b[32m" : "\xE2\x9F\xA6";
  const char* close = style == MarkStyle::kColour ? "\x1b[0m" : "\xE2\x9F\xA7";
  std::string text;
  const std::span<const int32_t> ids(sample.input_ids);
  for (size_t start = 0; start < ids.size();) {
    size_t end = start + 1;
    while (end < ids.size() && sample.trained[end] == sample.trained[start]) ++end;
    const std::string run = printable(decode(ids.subspan(start, end - start)));
    text += sample.trained[start] ? open + run + close : run;
    start = end;
  }
  return text;
}

std::string length_histogram(const std::vector<int64_t>& lengths, int max_rows) {
  if (lengths.empty()) return "";
  const auto [least, most] = std::minmax_element(lengths.begin(), lengths.end());
  // One row is kept in reserve: the first range starts at a multiple of the width, below the shortest sample.
  const int64_t width = round_width(*most - *least + 1, std::max(1, max_rows - 1));
  const int64_t first = *least / width;
  std::vector<int64_t> counts(static_cast<size_t>(*most / width - first + 1));
  for (const int64_t length : lengths) ++counts[static_cast<size_t>(length / width - first)];
  const int64_t highest = *std::max_element(counts.begin(), counts.end());
  const size_t digits = std::to_string(*most / width * width + width - 1).size();
  std::string text;
  for (size_t k = 0; k < counts.size(); ++k) {
    const int64_t start = (first + static_cast<int64_t>(k)) * width;
    const int64_t bar = counts[k] == 0 ? 0 : std::max<int64_t>(1, counts[k] * 40 / highest);
    const std::string range = width == 1 ? fmt::format("{:>{}}", start, digits)
                                         : fmt::format("{:>{}} to {:>{}}", start, digits, start + width - 1, digits);
    text += fmt::format("  {}  {:>7}  {}\n", range, counts[k], std::string(static_cast<size_t>(bar), '#'));
  }
  return text;
}

int64_t count_duplicates(const SampleSet& samples) {
  std::unordered_multimap<uint64_t, size_t> seen;
  int64_t num_duplicates = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto [begin, end] = seen.equal_range(samples.hash(i));
    const bool duplicate = begin != end && std::any_of(begin, end, [&, sample = samples[i]](const auto& entry) {
                             const TokenizedSample other = samples[entry.second];
                             return other.input_ids == sample.input_ids && other.trained == sample.trained;
                           });
    if (duplicate) {
      ++num_duplicates;
    } else {
      seen.emplace(samples.hash(i), i);
    }
  }
  return num_duplicates;
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
