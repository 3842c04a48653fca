// A step shared by ranks: who scores and trains what, and what they tell each other. With one rank nothing is sent, and
// the same code does what it always did.
//
// Every rank knows the whole step (its samples' indices, all scores, the decision) and finds the same; only scores,
// sums of losses and gradients travel. Samples don't: each rank reads those it needs.
#pragma once

#include <span>
#include <vector>

#include "qtune/batch/pack.h"
#include "qtune/dist/communicator.h"
#include "qtune/model/model.h"
#include "qtune/prune/scores.h"
#include "qtune/text/tokenized_sample.h"

namespace qtune {

/// Rank of each sample in the score pass and in evaluations: whole micro-batches of the step's order go to ranks by
/// their tokens. So every sample is scored beside the same neighbours as by one rank alone, to the same bits.
std::vector<int> scoring_ranks(std::span<const TokenizedSample* const> samples, int64_t micro_batch, int world_size);

/// Every sample's scores on all ranks, in the step's order; `own` are those of this rank's samples, in order. Only
/// `arrays` travel.
std::vector<SampleScores> gather_scores(Communicator& communicator, std::span<const TokenizedSample* const> samples,
                                        std::span<const int> ranks, const std::vector<ScoreArray>& arrays,
                                        std::vector<SampleScores> own);

/// Rank of each kept sample in the training pass, by its tokens after pruning.
std::vector<int> training_ranks(std::span<const PackedSample> kept, int world_size);

/// One double of each kept sample, on all ranks, in the step's order; `own` are those of this rank's.
std::vector<double> gather_values(Communicator& communicator, std::span<const int> ranks, std::span<const double> own);

/// After an update by shards (zero_stage: 1): every rank gets the other ranks' slices of the weights.
void share_weights(Communicator& communicator, Model& model);

/// Holds all ranks' weights against rank 0's: the model's own and the adapter's, by a sum of each tensor's bits.
/// Throws: DistError naming the first tensor that differs, and the rank.
void check_equal_weights(Communicator& communicator, Model& model);

/// Sums gradients over ranks, a layer at a time while backward goes on with the next. Every rank makes the same
/// reductions in the same order, whatever it has kept.
class GradientReducer {
 public:
  /// dtype: kFloat or kBFloat16, in which sums are sent and added.
  GradientReducer(Model& model, Communicator& communicator, at::ScalarType dtype);

  /// Gradients of this layer are final on this rank. From the last layer to the first.
  void layer_done(int64_t layer);
  /// So are all others. Returns when the sums are there.
  void finish();

 private:
  void start(const std::vector<at::Tensor>& gradients);

  struct Started {
    Communicator::Pending pending;
    std::vector<at::Tensor> gradients, sent;  // the latter: rounded copies of the former; none in float32
  };
  Communicator& communicator_;
  at::ScalarType dtype_;
  std::vector<std::vector<at::Tensor>> layers_;
  std::vector<at::Tensor> rest_;
  std::vector<Started> started_;
  int64_t next_layer_;  // that has not been reduced
};

}  // namespace qtune
