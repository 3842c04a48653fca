// The plain twin of a model's score and training pass: the whole model in obvious ATen calls, with LibTorch's autograd.
// `ops.reference: true` trains with it, to tell a fault of the fused ops from one of anything else.
#pragma once

#include "qtune/model/model.h"

namespace qtune {

/// Model::score. Throws: Error naming a token id or target outside the vocabulary.
RowScores score_reference(Model& model, const PackedTokens& batch);

/// Model::forward_backward: adds the gradients of the SUM of nll to every Parameter::gradient.
/// Cost: keeps every intermediate value, all attention scores, the (M, V) logits and, in bfloat16, a float32 copy of
/// all weights and one of their gradients.
RowScores forward_backward_reference(Model& model, const PackedTokens& batch);

}  // namespace qtune
