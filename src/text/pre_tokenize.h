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

/// The rule that matches exactly as this regular expression does; nullopt for one that is not known.
std::optional<SplitRule> split_rule_of_regex(std::string_view regex);

/// End of the first piece of [p, end), p < end, valid UTF-8. The pieces of a text cover it.
const char* piece_end(SplitRule rule, const char* p, const char* end);

}  // namespace qtune
