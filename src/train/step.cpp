#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/score/score_pass.h"
#include "run.h"

namespace qtune {
namespace {

using SamplePointers = std::vector<const TokenizedSample*>;

/// Adds the time since the last call to one of the step's phases.
class PhaseClock {
 public:
  void end(double& phase) {
    const auto now = std::chrono::steady_clock::now();
    phase += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

SamplePointers next_samples(TrainingRun& run) {
  SamplePointers samples;
  for (const int64_t index : run.sampler->next()) samples.push_back(&run.samples[static_cast<size_t>(index)]);
  return samples;
}

std::vector<SampleScores> score_samples(TrainingRun& run, const SamplePointers& samples) {
  if (run.pruner.needs_scores()) return score_pass(run.model, samples, run.config().per_device_train_batch_size);
  std::vector<SampleScores> scores;
  for (const TokenizedSample* sample : samples) scores.push_back(unscored(*sample));
  return scores;
}

/// Judges all samples together (global), or each micro-batch alone (micro, the paper's).
PruneDecision decide(const TrainingRun& run, std::span<const SampleScores> scores) {
  const uint64_t step = static_cast<uint64_t>(run.state.step);
  if (run.config().pruning.scope == "global") return run.pruner.decide(scores, step);
  PruneDecision all;
  const size_t group = static_cast<size_t>(run.config().per_device_train_batch_size);
  for (size_t first = 0; first < scores.size(); first += group) {
    // Micro-batches of one step draw different random numbers.
    const uint64_t draw = step * scores.size() + first;
    PruneDecision part = run.pruner.decide(scores.subspan(first, std::min(group, scores.size() - first)), draw);
    if (group >= scores.size()) all.thresholds = part.thresholds;
    std::move(part.samples.begin(), part.samples.end(), std::back_inserter(all.samples));
  }
  return all;
}

struct BackwardSums {
  double nll = 0;
  int64_t num_targets = 0;
};

/// Gradients of the sum of nll over all kept tokens, micro-batch by micro-batch.
BackwardSums backward_sum(TrainingRun& run, std::span<const PackedSample> kept) {
  BackwardSums sums;
  const size_t micro_batch = static_cast<size_t>(run.config().per_device_train_batch_size);
  run.model.zero_gradients();
  for (size_t first = 0; first < kept.size(); first += micro_batch) {
    const PackedTokens batch = pack(kept.subspan(first, std::min(micro_batch, kept.size() - first)));
    const RowScores scores = run.model.forward_backward(batch);
    const float* nll = scores.nll_N.data_ptr<float>();
    for (int64_t i = 0; i < batch.num_targets(); ++i) sums.nll += nll[i];
    sums.num_targets += batch.num_targets();
  }
  return sums;
}

/// Leaves the evidence in the run's folder, then stops or warns. Weights have not been touched.
void report_nonfinite(const TrainingRun& run, const StepMetrics& metrics, const SamplePointers& samples) {
  std::string ids;
  for (const TokenizedSample* sample : samples) ids += sample->id.name() + "\n";
  const auto path = run.output_dir / fmt::format("nonfinite-step-{}.txt", metrics.step);
  write_file_atomic(
      path, fmt::format("loss {} gradient norm {}\nsamples of the step:\n{}", metrics.loss, metrics.grad_norm, ids));
  const std::string message =
      fmt::format("step {}: expected a finite loss and gradient norm, found {} and {} (its samples: {})", metrics.step,
                  metrics.loss, metrics.grad_norm, path.string());
  if (run.config().on_nonfinite == "stop") {
    throw NonFiniteError(message + " ---> lower learning_rate, look at these samples, or set on_nonfinite: skip");
  }
  spdlog::warn("{}; the step is skipped", message);
}

}  // namespace

StepResult train_step(TrainingRun& run) {
  PhaseClock clock;
  StepResult result;
  StepMetrics& m = result.metrics;
  const SamplePointers samples = next_samples(run);
  m.step = run.state.step + 1;
  m.epoch = run.sampler->epoch();
  m.learning_rate = run.schedule.at(run.state.step);
  for (const TokenizedSample* sample : samples) m.tokens_seen += sample->num_tokens();
  if (run.pruner.needs_scores()) m.tokens_scored = m.tokens_seen;
  clock.end(m.seconds.other);

  const std::vector<SampleScores> scores = score_samples(run, samples);
  clock.end(m.seconds.score);
  result.decision = decide(run, scores);
  m.kept_samples = count_kept(result.decision);
  if (result.decision.thresholds) m.alpha = result.decision.thresholds->alpha;
  clock.end(m.seconds.decide);

  const std::vector<PackedSample> kept = kept_samples(samples, result.decision, run.token_mode);
  const BackwardSums sums = backward_sum(run, kept);
  m.tokens_trained = sums.num_targets;
  clock.end(m.seconds.train);

  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, sums.num_targets));
  m.loss = sums.nll * scale;
  m.grad_norm = run.optimizer->gradient_norm() * scale;
  if (std::isfinite(m.loss) && std::isfinite(m.grad_norm)) {
    run.optimizer->update(m.learning_rate, scale * clip_factor(m.grad_norm, run.config().max_grad_norm));
  } else {
    report_nonfinite(run, m, samples);
  }
  clock.end(m.seconds.optimizer);

  run.state.step = m.step;
  run.state.epoch = m.epoch;
  run.state.num_updates = run.optimizer->num_updates();
  run.state.tokens_seen += m.tokens_seen;
  run.state.tokens_scored += m.tokens_scored;
  run.state.tokens_trained += m.tokens_trained;
  m.peak_memory_bytes = peak_memory_bytes();
  return result;
}

}  // namespace qtune
