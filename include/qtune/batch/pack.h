// From samples and a decision to what the model takes: samples packed end to end, without padding.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qtune/model/packed_tokens.h"
#include "qtune/prune/scores.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// What becomes of a kept sample's pruned tokens (pruning.token.mode).
enum class TokenMode {
  kMask,  // they stay in the input as context and leave the loss
  kDrop,  // they leave the input too; positions are counted anew
};

/// A sample as it is computed: input ids up to the last target, and the targets among them.
struct PackedSample {
  std::vector<int32_t> input_ids;  // nothing behind the last target's predecessor: it could change no loss
  std::vector<int32_t> rows;       // ascending indices into input_ids whose hidden state predicts ...
  std::vector<int32_t> targets;    // ... these token ids
  double weight = 1;               // factor of their nll in the loss
};

/// All of T(x) as targets.
PackedSample all_targets(const TokenizedSample& sample);

/// A kept sample under its decision. kept_tokens: ascending indices into T(x), as SampleDecision has them.
/// kDrop: trainable tokens that are not kept leave the input; prompt and template text always stay, and a kept token is
/// predicted from the nearest token before it that is left.
/// Empty: no kept token gives an empty sample. Throws: Error when an index is outside T(x).
PackedSample apply_decision(const TokenizedSample& sample, std::span<const int32_t> kept_tokens, TokenMode mode);

/// Packs samples in their order; weights only where one is not 1. Samples without input contribute nothing but their
/// (empty) place in cu_seqlens.
PackedTokens pack(std::span<const PackedSample> samples);

/// The samples that a decision kept, in the step's order.
std::vector<PackedSample> kept_samples(std::span<const TokenizedSample* const> samples, const PruneDecision& decision,
                                       TokenMode mode);

}  // namespace qtune
