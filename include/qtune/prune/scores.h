// What pruning looks at and what it decides: plain arrays in, a decision out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace qtune {

/// One sample's scores over T(x), its trainable positions in order. All vectors that are not empty have the same
/// length. A sample that was not scored, because no method needs scores, has empty nll and entropy and a full span.
/// The last three are filled for the methods that look at them (Pruner::needed_arrays).
struct SampleScores {
  std::string id;
  bool id_is_number = false;         // it was a JSON number, and is written as one
  std::vector<double> nll;           // nats: -ln p(token | before)
  std::vector<double> entropy;       // nats: of the prediction over the whole vocabulary, >= 0
  std::vector<int32_t> positions;    // index of the predicted token in the sample; may be empty (a scores file without)
  std::vector<int32_t> span;         // number of the contiguous run of trainable positions; empty: one run
  std::vector<uint8_t> end_of_turn;  // 1: the token ends an assistant's turn; empty: none does
  std::vector<double> reference_nll;  // nats: nll under the reference model (rho1, tokencleaning)
  std::vector<double> base_nll;       // nats: nll under the base model (tokencleaning)
  std::vector<double> attention;      // attention the token receives from later ones (fastv, sparsevlm)

  int64_t num_tokens() const { return static_cast<int64_t>(nll.empty() ? span.size() : nll.size()); }
};

/// One of the arrays of numbers in SampleScores.
using ScoreArray = std::vector<double> SampleScores::*;

/// Quadrants of the Error-Uncertainty plane (paper, section 4).
enum class Quadrant {
  kNoise,          // Q1: high perplexity, high entropy
  kMisconception,  // Q2: high perplexity, low entropy
  kRedundant,      // Q3: low, low
  kCalibration,    // Q4: low perplexity, high entropy
  kMiddle,         // between the thresholds on either axis
};

/// "Q1".."Q4", "mid".
const char* quadrant_name(Quadrant quadrant);

/// One sample's fate.
struct SampleDecision {
  std::string id;
  bool id_is_number = false;
  double perplexity = 0;  // exp of the mean nll (capped at e^80); NaN: not scored
  double entropy = 0;     // mean entropy, nats; NaN: not scored
  Quadrant quadrant = Quadrant::kMiddle;
  bool kept = false;
  bool supplement = false;           // kept although outside Q2 and Q4, to meet the target
  double weight = 1;                 // factor of its tokens' nll in the loss
  std::vector<int32_t> kept_tokens;  // ascending indices into T(x); empty unless kept
};

struct Thresholds {
  double alpha = 0, beta = 0;  // quantile fractions of the last bisection round
  double ppl_hi = 0, ppl_lo = 0, ent_lo = 0, ent_hi = 0;
};

/// The fates of all samples of one step, in their order. `thresholds` only where the method has them (qtuning).
struct PruneDecision {
  std::optional<Thresholds> thresholds;
  std::vector<SampleDecision> samples;
  int64_t loss_tokens = 0;  // what the sum of weight * nll over all kept tokens is divided by; 0 of no samples
};

}  // namespace qtune
