// A sample as the model sees it: token ids, and which of them are trained.
#pragma once

#include <cstdint>
#include <vector>

#include "qtune/data/record.h"

namespace qtune {

struct TokenizedSample {
  SampleId id;
  std::vector<int32_t> input_ids;
  std::vector<uint8_t> trained;      // same length; 1: the token is a target of training (its label is not -100)
  std::vector<uint8_t> end_of_turn;  // same length; 1: the token ends an assistant's turn (implies trained)

  int64_t num_tokens() const { return static_cast<int64_t>(input_ids.size()); }
};

/// What a batch takes; `samples` must stay where they are.
std::vector<const TokenizedSample*> pointers_to(const std::vector<TokenizedSample>& samples);

/// T(x) of the paper: positions k >= 1 with trained[k], ascending. Position 0 has nothing before it to be predicted
/// from.
std::vector<int32_t> trainable_positions(const TokenizedSample& sample);

/// For each entry of `positions` the number of the contiguous run it belongs to, from 0.
std::vector<int32_t> runs_of_positions(const std::vector<int32_t>& positions);

}  // namespace qtune
