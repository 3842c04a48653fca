// Answers as harnesses compare them: the text rules behind the scores. Pure functions on UTF-8.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qtune {

/// What a filter of lm-evaluation-harness gives where nothing was found.
inline constexpr std::string_view kInvalidAnswer = "[invalid]";

/// str.lower and str.strip of Python.
std::string python_lower(std::string_view text);
std::string_view python_strip(std::string_view text);

/// Without the 32 characters of Python's string.punctuation.
std::string without_punctuation(std::string_view text);

/// SQuAD's normalisation: lower case, no punctuation, no articles, single spaces.
/// Source: the official evaluate-v2.0.py, as transformers' squad_metrics.normalize_answer has it.
std::string normalize_squad_answer(std::string_view text);

struct SquadScore {
  double exact = 0;  // 0 or 1
  double f1 = 0;     // [0, 1], of the normalised words
};

/// The best over `golds`; golds that normalise to nothing don't count, and without any the right answer is the empty
/// one. Source: squad_metrics.get_raw_scores.
SquadScore squad_score(const std::vector<std::string>& golds, std::string_view prediction);

/// Any alias equals the prediction, both in lower case and without punctuation (lm-eval's triviaqa).
bool matches_alias(const std::vector<std::string>& aliases, std::string_view prediction);

/// The first "#### " with a number behind it: that number as it is written; else kInvalidAnswer (lm-eval's gsm8k,
/// filter strict-match).
std::string strict_number(std::string_view answer);
/// The last number, or run of two or more of "$0-9.,"; else kInvalidAnswer (filter flexible-extract).
std::string last_number(std::string_view answer);
/// Equal after what lm-eval's gsm8k ignores: commas, dollar signs, all up to the last "#### ", a final full stop, case.
bool same_gsm8k_answer(std::string_view prediction, std::string_view gold);

/// OpenCompass' gsm8k: the last `-?\d+\.\d+` or `-?\d+` before "Question:"; "NULL" where there is none.
/// Note: "1,200" gives "200" there, too.
std::string opencompass_number(std::string_view answer);
/// Behind the first "#### " of a solution, without commas. Empty: there is no "#### ".
std::string opencompass_gold(std::string_view solution);
/// Equal as text, or the prediction within 1e-6 of the gold's whole number.
bool same_opencompass_number(const std::string& prediction, const std::string& gold);

}  // namespace qtune
