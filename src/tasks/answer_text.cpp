#include "qtune/tasks/answer_text.h"

#include <algorithm>

#include "qtune/jinja/python_text.h"
#include "qtune/text/code_point_class.h"

namespace qtune {
namespace {

constexpr uint32_t kCapitalSigma = 0x3A3, kSmallSigma = 0x3C3, kFinalSigma = 0x3C2;

bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/// \w of Python's regular expressions.
bool is_word(uint32_t c) { return c == '_' || is_letter_or_number(c); }

/// Runs of text without white space, as str.split() gives them.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool in_word = false;
  for (size_t at = 0; at < text.size();) {
    const size_t size = utf8_size(text, at);
    if (is_python_space(code_point_at(text, at))) {
      in_word = false;
    } else {
      if (!in_word) words.emplace_back();
      in_word = true;
      words.back().append(text, at, size);
    }
    at += size;
  }
  return words;
}

/// a, an, the become a space where they stand as words (`\b(a|an|the)\b`). Lower case only.
std::string without_articles(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && is_word(code_point_at(text, end))) end += utf8_size(text, end);
    const std::string_view word = text.substr(at, end - at);
    if (word.empty()) {
      end += utf8_size(text, at);
      out.append(text, at, end - at);
    } else if (word == "a" || word == "an" || word == "the") {
      out += ' ';
    } else {
      out += word;
    }
    at = end;
  }
  return out;
}

double f1_of(std::vector<std::string> gold, std::vector<std::string> prediction) {
  if (gold.empty() || prediction.empty()) return gold == prediction ? 1 : 0;
  std::sort(gold.begin(), gold.end());
  std::sort(prediction.begin(), prediction.end());
  std::vector<std::string> common;
  std::set_intersection(gold.begin(), gold.end(), prediction.begin(), prediction.end(), std::back_inserter(common));
  if (common.empty()) return 0;
  const double precision = static_cast<double>(common.size()) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(common.size()) / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

std::string python_lower(std::string_view text) {
  std::string out;
  bool letter_before = false;
  for (size_t at = 0; at < text.size();) {
    const size_t size = utf8_size(text, at);
    const uint32_t c = code_point_at(text, at);
    at += size;
    if (c == kCapitalSigma) {
      const bool letter_behind = at < text.size() && is_letter_or_number(code_point_at(text, at));
      append_code_point(out, letter_before && !letter_behind ? kFinalSigma : kSmallSigma);
    } else {
      append_lower(out, c);
    }
    letter_before = is_letter_or_number(c);
  }
  return out;
}

std::string_view python_strip(std::string_view text) {
  text.remove_prefix(space_prefix(text));
  text.remove_suffix(space_suffix(text));
  return text;
}

std::string without_punctuation(std::string_view text) {
  std::string out(text);
  std::erase_if(out, is_punctuation);
  return out;
}

std::string normalize_squad_answer(std::string_view text) {
  std::string out;
  for (const std::string& word : words_of(without_articles(without_punctuation(python_lower(text))))) {
    if (!out.empty()) out += ' ';
    out += word;
  }
  return out;
}

SquadScore squad_score(const std::vector<std::string>& golds, std::string_view prediction) {
  std::vector<std::string> normalized;
  for (const std::string& gold : golds) {
    std::string text = normalize_squad_answer(gold);
    if (!text.empty()) normalized.push_back(std::move(text));
  }
  if (normalized.empty()) normalized.emplace_back();
  const std::string predicted = normalize_squad_answer(prediction);
  SquadScore best;
  for (const std::string& gold : normalized) {
    best.exact = std::max(best.exact, gold == predicted ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(words_of(gold), words_of(predicted)));
  }
  return best;
}

bool matches_alias(const std::vector<std::string>& aliases, std::string_view prediction) {
  const auto plain = [](std::string_view text) { return without_punctuation(python_lower(text)); };
  const std::string predicted = plain(prediction);
  return std::any_of(aliases.begin(), aliases.end(), [&](const std::string& a) { return plain(a) == predicted; });
}

}  // namespace qtune
