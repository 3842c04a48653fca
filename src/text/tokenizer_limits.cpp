#include "tokenizer_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "qtune/base/error.h"

namespace qtune {
namespace {

constexpr size_t kMaxSteps = 16;        // the known tokenizers have up to 6
constexpr size_t kMaxPrefixSteps = 2;   // each can double the number of pieces
constexpr size_t kMaxPrefixBytes = 64;  // the known tokenizers put one character in front
constexpr size_t kMaxGrowth = 64;       // of a text, by all Replace steps together; a space as U+2581 is 3

void check_number(const char* section, size_t found, size_t most, const char* what) {
  if (found > most) throw Error(fmt::format("{}: expected at most {} {}, found {}", section, most, what, found));
}

/// How many times longer Replace steps can make a text. A product that grows past the limit stays there.
class Growth {
 public:
  explicit Growth(const char* section) : section_(section) {}
  void add(const std::string& pattern, const std::string& content) {
    if (content.size() > pattern.size()) factor_ *= (content.size() + pattern.size() - 1) / pattern.size();
    if (factor_ <= kMaxGrowth) return;
    throw Error(fmt::format("{}: expected Replace steps that make a text at most {} times longer, found {} or more",
                            section_, kMaxGrowth, factor_));
  }

 private:
  const char* section_;
  size_t factor_ = 1;
};

}  // namespace

uint64_t token_id_limit(size_t num_tokens) { return 4 * static_cast<uint64_t>(num_tokens) + (1 << 18); }

void check_steps(const TokenizerSpec& spec) {
  check_number("normalizer", spec.normalizer.size(), kMaxSteps, "steps");
  check_number("pre_tokenizer", spec.pre_tokenizer.size(), kMaxSteps, "steps");
  check_number("decoder", spec.decoder.size(), kMaxSteps, "steps");
  Growth normalizer("normalizer"), decoder("decoder");
  for (const NormalizeStep& step : spec.normalizer) {
    if (step.kind == NormalizeStep::Kind::kReplace) normalizer.add(step.pattern, step.content);
    if (step.kind == NormalizeStep::Kind::kPrepend)
      check_number("normalizer", step.content.size(), kMaxPrefixBytes, "bytes to prepend");
  }
  const auto is_prefix = [](const PreStep& step) { return step.kind == PreStep::Kind::kPrefix; };
  const auto num_prefixes = std::count_if(spec.pre_tokenizer.begin(), spec.pre_tokenizer.end(), is_prefix);
  check_number("pre_tokenizer", static_cast<size_t>(num_prefixes), kMaxPrefixSteps, "steps that put a prefix in front");
  for (const DecodeStep& step : spec.decoder) {
    if (step.kind == DecodeStep::Kind::kReplace) decoder.add(step.pattern, step.content);
  }
}

}  // namespace qtune
