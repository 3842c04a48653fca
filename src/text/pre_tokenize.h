// Pre-tokenizers: cutting text into the pieces that are merged apart from each other.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qtune {

enum class SplitRule {
  kDigitsEach,     // Digits: every numeric character alone
  kDigitsRuns,     // Digits: runs of numeric characters
  kGpt2,           // the regular expression of GPT-2, also of ByteLevel with use_regex
  kNumbersOfOne,   // the regular expression of Qwen2 (numbers one by one)
  kNumbersOfThree  // that of Llama 3 (numbers up to three at a time)
};

/// What becomes of the places where a literal pattern stands.
enum class Delimiter { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// One step of a pre_tokenizer.
struct PreStep {
  enum class Kind {
    kRule,        // cut by `rule`
    kLiteral,     // cut where `text` stands
    kWhitespace,  // words and runs of other characters; white space goes
    kSpaceSplit,  // what stands between white space
    kPrefix,      // `text` in front, where it does not stand there already
    kReplace      // every space by `text`
  } kind;
  SplitRule rule = SplitRule::kGpt2;
  std::string text;
  Delimiter delimiter = Delimiter::kIsolated;
  enum class Where { kAlways, kFirst } where = Where::kAlways;  // kPrefix; kFirst: at the start of the whole text only
};

struct PieceRange {
  size_t begin, end;
};

/// The rule that matches exactly as this regular expression does; nullopt for one that is not known.
std::optional<SplitRule> split_rule_of_regex(std::string_view regex);

/// End of the first piece of [p, end), p < end, valid UTF-8. The pieces of a text cover it.
const char* piece_end(SplitRule rule, const char* p, const char* end);

/// Pieces of valid UTF-8 by a step of kind kLiteral, kWhitespace or kSpaceSplit; none is empty.
std::vector<PieceRange> pieces_of(const PreStep& step, std::string_view text);

}  // namespace qtune
