#include "pre_tokenize.h"

#include "unicode.h"

namespace qtune {
namespace {

// The published regular expressions, matched by hand below: exact also where libraries know different Unicode versions.
constexpr std::string_view kGpt2Regex = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Case { kExact, kFolded };

uint8_t class_at(const uint8_t* classes, const char* p) { return classes[code_point_at(p).value]; }

/// Behind the run of characters that have one of the bits in `mask` set (or, with kNone, none of them).
enum class Want { kAny, kNone };
const char* skip(const uint8_t* classes, const char* p, const char* end, uint8_t mask, Want want) {
  while (p < end) {
    const CodePoint c = code_point_at(p);
    if (((classes[c.value] & mask) != 0) != (want == Want::kAny)) break;
    p += c.length;
  }
  return p;
}

/// Length of the contraction ('s, 't, 're, 've, 'm, 'll, 'd) at p, or 0.
size_t contraction_length(const char* p, const char* end, Case letters) {
  if (*p != '\'' || end - p < 2) return 0;
  const auto lower = [&](char c) {
    return letters == Case::kFolded && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = lower(p[1]);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  // U+017F, the long s, is an s when case is ignored
  if (letters == Case::kFolded && end - p >= 3 && p[1] == '\xC5' && p[2] == '\xBF') return 3;
  if (end - p < 3) return 0;
  const char second = lower(p[2]);
  return ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l') ? 3 : 0;
}

/// \s+(?!\S)|\s+ at a white space: the run, less its last character when something follows that may take it as a
/// prefix.
const char* spaces_end(const char* p, const char* run_end, const char* end) {
  if (run_end == end) return end;
  const char* last = previous_code_point(run_end);
  return last == p ? run_end : last;
}

const char* gpt2_piece_end(const char* p, const char* end) {
  const uint8_t* classes = char_classes();
  if (const size_t length = contraction_length(p, end, Case::kExact)) return p + length;
  const char* body = *p == ' ' && p + 1 < end ? p + 1 : p;
  const uint8_t kind = class_at(classes, body) & (kLetter | kNumber | kSpace);
  if (kind == kLetter || kind == kNumber) return skip(classes, body, end, kind, Want::kAny);
  if (kind == 0) return skip(classes, body, end, kLetter | kNumber | kSpace, Want::kNone);
  return spaces_end(p, skip(classes, p, end, kSpace, Want::kAny), end);
}

/// Where the literal stands and what lies between, in order; `match` says which.
struct LiteralPart {
  PieceRange range;
  bool match;
};

std::vector<LiteralPart> literal_parts(std::string_view literal, std::string_view text) {
  std::vector<LiteralPart> parts;
  size_t done = 0;
  for (size_t at; (at = text.find(literal, done)) != std::string_view::npos; done = at + literal.size()) {
    if (done < at) parts.push_back({{done, at}, false});
    parts.push_back({{at, at + literal.size()}, true});
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, false});
  return parts;
}

/// True where parts[i] joins the part before it.
bool joins_previous(Delimiter delimiter, const std::vector<LiteralPart>& parts, size_t i) {
  switch (delimiter) {
    case Delimiter::kMergedWithPrevious:
      return parts[i].match && !parts[i - 1].match;
    case Delimiter::kMergedWithNext:
      return !parts[i].match && parts[i - 1].match;
    case Delimiter::kContiguous:
      return parts[i].match == parts[i - 1].match;
    case Delimiter::kIsolated:
    case Delimiter::kRemoved:
      break;
  }
  return false;
}

std::vector<PieceRange> literal_pieces(const PreStep& step, std::string_view text) {
  const std::vector<LiteralPart> parts = literal_parts(step.text, text);
  std::vector<PieceRange> out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (step.delimiter == Delimiter::kRemoved && parts[i].match) continue;
    if (i > 0 && joins_previous(step.delimiter, parts, i)) {
      out.back().end = parts[i].range.end;
    } else {
      out.push_back(parts[i].range);
    }
  }
  return out;
}

const char* skip_line_ends(const char* p, const char* end) {
  while (p < end && (*p == '\r' || *p == '\n')) ++p;
  return p;
}

const char* llama3_piece_end(const char* p, const char* end, int max_numbers) {
  const uint8_t* classes = char_classes();
  if (const size_t length = contraction_length(p, end, Case::kFolded)) return p + length;
  const CodePoint first = code_point_at(p);
  const uint8_t kind = classes[first.value] & (kLetter | kNumber | kSpace);
  const char* next = p + first.length;
  if (kind == kLetter) return skip(classes, next, end, kLetter, Want::kAny);
  if (kind == kNumber) {
    for (int n = 1; n < max_numbers && next < end && (class_at(classes, next) & kNumber); ++n)
      next += code_point_at(next).length;
    return next;
  }
  // one character of any other kind but a line end may lead a word
  if (*p != '\r' && *p != '\n' && next < end && (class_at(classes, next) & kLetter)) {
    return skip(classes, next, end, kLetter, Want::kAny);
  }
  const char* body = *p == ' ' && next < end ? next : p;
  if ((class_at(classes, body) & (kLetter | kNumber | kSpace)) == 0) {
    return skip_line_ends(skip(classes, body, end, kLetter | kNumber | kSpace, Want::kNone), end);
  }
  const char* run_end = skip(classes, p, end, kSpace, Want::kAny);
  for (const char* q = run_end; q > p; --q) {
    if (q[-1] == '\r' || q[-1] == '\n') return q;
  }
  return spaces_end(p, run_end, end);
}

}  // namespace

std::optional<SplitRule> split_rule_of_regex(std::string_view regex) {
  if (regex == kGpt2Regex) return SplitRule::kGpt2;
  if (regex == kLlama3Regex) return SplitRule::kNumbersOfThree;
  if (regex == kQwen2Regex) return SplitRule::kNumbersOfOne;
  return std::nullopt;
}

const char* piece_end(SplitRule rule, const char* p, const char* end) {
  const uint8_t* classes = char_classes();
  switch (rule) {
    case SplitRule::kGpt2:
      return gpt2_piece_end(p, end);
    case SplitRule::kNumbersOfOne:
      return llama3_piece_end(p, end, 1);
    case SplitRule::kNumbersOfThree:
      return llama3_piece_end(p, end, 3);
    case SplitRule::kDigitsEach:
    case SplitRule::kDigitsRuns:
      break;
  }
  const bool numeric = class_at(classes, p) & kNumeric;
  if (numeric && rule == SplitRule::kDigitsEach) return p + code_point_at(p).length;
  return skip(classes, p, end, kNumeric, numeric ? Want::kAny : Want::kNone);
}

std::vector<PieceRange> pieces_of(const PreStep& step, std::string_view text) {
  if (step.kind == PreStep::Kind::kLiteral) return literal_pieces(step, text);
  const uint8_t* classes = char_classes();
  const uint8_t word = step.kind == PreStep::Kind::kWhitespace ? kWord : 0;
  const char *begin = text.data(), *end = begin + text.size();
  std::vector<PieceRange> out;
  for (const char* p = begin; p < end;) {
    const uint8_t kind = class_at(classes, p);
    const char* next = kind & word     ? skip(classes, p, end, kWord, Want::kAny)
                       : kind & kSpace ? skip(classes, p, end, kSpace, Want::kAny)
                                       : skip(classes, p, end, kSpace | word, Want::kNone);
    if ((kind & word) || !(kind & kSpace))
      out.push_back({static_cast<size_t>(p - begin), static_cast<size_t>(next - begin)});
    p = next;
  }
  return out;
}

}  // namespace qtune
