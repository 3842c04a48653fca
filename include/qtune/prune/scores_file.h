// Scores files (one JSON object a line, as `qtune score` writes them) and decisions as JSON (as `qtune select` prints
// them).
#pragma once

#include <filesystem>
#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "qtune/prune/scores.h"

namespace qtune {

struct ScoresFile {
  std::vector<SampleScores> samples;  // in the file's order, each with at least one trainable token
  std::vector<std::string> skipped;   // ids of the samples with empty arrays
};

/// Reads a scores file; "-" is the standard input. Blank lines are passed over. A missing id becomes "file:line", a
/// missing span one run, a missing end_of_turn none; `ppl`, `mean_entropy` and unknown keys are not looked at.
/// Throws: DataError with file:line for broken JSON, arrays of unequal length, wrong types, NaN, infinite numbers and
/// negative entropy, and naming the file when it can't be read.
ScoresFile read_scores(const std::filesystem::path& path);

/// The same from a stream; `name` stands for the file in messages and ids.
ScoresFile read_scores(std::istream& in, const std::string& name);

/// One line of a scores file, without its newline: id, nll, entropy, positions, span, end_of_turn, ppl, mean_entropy.
/// Reading it back gives the same doubles. Empty: no trainable token gives empty arrays, ppl and mean_entropy null.
std::string scores_line(const SampleScores& scores);

/// Keys id, ppl, entropy, quadrant, kept, supplement, weight where it is not 1, and kept_tokens where kept. ppl and
/// entropy are null if not scored.
nlohmann::ordered_json to_json(const SampleDecision& decision);

/// Keys alpha, beta, ppl_hi, ppl_lo, ent_lo, ent_hi.
nlohmann::ordered_json to_json(const Thresholds& thresholds);

}  // namespace qtune
