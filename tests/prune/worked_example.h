// The worked example of docs/pruning.md, "A worked example". Change both together.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "qtune/prune/pruner.h"
#include "qtune/prune/scores.h"

namespace qtune {

/// A sample whose tokens have these perplexities and all the same entropy; its last token ends the turn.
inline SampleScores sample_of(const std::string& id, const std::vector<double>& token_perplexities, double entropy) {
  SampleScores scores{.id = id};
  for (const double p : token_perplexities) {
    scores.nll.push_back(std::log(p));
    scores.entropy.push_back(entropy);
    scores.positions.push_back(static_cast<int32_t>(scores.positions.size()) + 1);
  }
  scores.span.assign(token_perplexities.size(), 0);
  scores.end_of_turn.assign(token_perplexities.size(), 0);
  scores.end_of_turn.back() = 1;
  return scores;
}

inline std::vector<SampleScores> worked_example() {
  return {
      sample_of("a", {3, 27}, 1.75),               // PPL 9
      sample_of("b", {5, 4, 50, 20, 10, 5}, 1.1),  // PPL 10
      sample_of("c", {2, 2}, 1.0),                 // PPL 2
      sample_of("d", {3, 3, 3}, 2.0),              // PPL 3
      sample_of("e", {2, 8}, 1.5),                 // PPL 4
      sample_of("f", {6}, 1.6),                    // PPL 6
      sample_of("g", {4, 16}, 1.4),                // PPL 8
      sample_of("h", {5, 5}, 1.7),                 // PPL 5
  };
}

inline PrunerOptions worked_options() {
  return {.sample_method = "qtuning", .sample_keep = 0.75, .token_method = "qtuning", .token_keep = 0.5};
}

}  // namespace qtune
