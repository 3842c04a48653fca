// Answers to MATH problems compared as text: what lm-evaluation-harness' hendrycks_math does (rules of Hendrycks et al.
// 2021, arXiv 2103.03874). Non-goal: algebra; "x+1" and "1+x" differ.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace qtune {

/// What stands in the last \boxed of a solution. nullopt: there is none that closes, or \fbox stands in its place.
std::optional<std::string> last_boxed_answer(std::string_view solution);

/// Between the first and the last dollar sign; with fewer than two of them the whole text.
std::string_view dollar_answer(std::string_view text);

/// Equal once written in one form: \dfrac as \frac, 0.5 and a/b as \frac, no units, spaces, degrees, percent.
/// Where a rule can't be applied (an argument of \frac is missing, ...) the texts themselves are compared.
bool same_math_answer(std::string_view a, std::string_view b);

}  // namespace qtune
