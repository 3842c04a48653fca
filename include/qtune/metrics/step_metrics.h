// What a training step and an evaluation report (docs/architecture.md, "A run's folder").
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "qtune/prune/scores.h"

namespace qtune {

/// Wall-clock seconds of the parts of one step.
struct StepSeconds {
  double score = 0;      // gradient-free pass, and the exchange of scores between ranks
  double decide = 0;     // pruning decision
  double train = 0;      // forward and backward of the kept samples, and the wait for the other ranks' gradients
  double optimizer = 0;  // clipping, update, with zero_stage: 1 the exchange of new weights
  double other = 0;      // reading data, packing, ...

  double total() const { return score + decide + train + optimizer + other; }
};

/// Number of samples in each quadrant.
class QuadrantCounts {
 public:
  int64_t& operator[](Quadrant q) { return counts_[static_cast<size_t>(q)]; }
  int64_t operator[](Quadrant q) const { return counts_[static_cast<size_t>(q)]; }
  int64_t total() const;
  bool operator==(const QuadrantCounts&) const = default;

 private:
  std::array<int64_t, 5> counts_{};
};

/// Kept samples of a decision by quadrant. Methods without thresholds have all of theirs in the middle.
QuadrantCounts count_kept(const PruneDecision& decision);

/// One optimizer step, over all ranks.
struct StepMetrics {
  int64_t step = 0;            // 1-based number of the update
  double epoch = 0;            // epochs done after this step
  double loss = 0;             // nats a token: mean over the step's trained tokens
  double grad_norm = 0;        // before clipping
  double learning_rate = 0;    // of this update
  int64_t tokens_seen = 0;     // tokens of this step's samples
  int64_t tokens_scored = 0;   // tokens of this step that went through the score pass
  int64_t tokens_trained = 0;  // tokens of this step in the loss
  QuadrantCounts kept_samples;
  std::optional<double> alpha;  // of the last bisection round; none without thresholds
  StepSeconds seconds;          // of rank 0
  int64_t peak_memory_bytes = 0;
  /// Of each rank, with several: seconds that it computed gradients, and that it waited for the others in this step.
  std::vector<double> rank_train_seconds, rank_wait_seconds;
};

/// What a model answers to a held-out sample's prompt.
struct SampleGeneration {
  std::string id, prompt, expected, text;  // special tokens are written out
  std::string finish_reason;               // "stop" or "length"
};

/// One evaluation on held-out samples.
struct EvalMetrics {
  int64_t step = 0;  // updates done before it
  double epoch = 0;
  double eval_loss = 0;         // nats a token: mean over the trainable tokens
  double eval_loss_stderr = 0;  // its standard error, samples being independent; NaN: one sample
  int64_t eval_samples = 0;
  int64_t eval_tokens = 0;  // trainable tokens
  double eval_seconds = 0;
  std::vector<SampleGeneration> generations;
};

/// Keys and values of a line of metrics.jsonl. Numbers that are not finite, and an absent alpha, are null; no
/// generations: no such key.
nlohmann::ordered_json to_json(const StepMetrics& metrics);
nlohmann::ordered_json to_json(const EvalMetrics& metrics);

}  // namespace qtune
