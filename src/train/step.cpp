#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "nonfinite.h"
#include "qtune/base/memory.h"
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

std::vector<TokenizedSample> next_samples(TrainingRun& run) {
  std::vector<TokenizedSample> samples;
  for (const int64_t index : run.sampler->next()) samples.push_back(run.samples[static_cast<size_t>(index)]);
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
  std::vector<double> mean_nll;  // of each kept sample
};

/// Gradients of the sum of nll over all kept tokens, micro-batch by micro-batch.
BackwardSums backward_sum(TrainingRun& run, std::span<const PackedSample> kept) {
  BackwardSums sums;
  const size_t micro_batch = static_cast<size_t>(run.config().per_device_train_batch_size);
  run.model.zero_gradients();
  run.model.start_step(run.state.step);
  for (size_t first = 0; first < kept.size(); first += micro_batch) {
    const auto group = kept.subspan(first, std::min(micro_batch, kept.size() - first));
    const RowScores scores = run.model.forward_backward(pack(group));
    const float* nll = scores.nll_N.data_ptr<float>();
    for (const PackedSample& sample : group) {
      double sum = 0;
      for (size_t i = 0; i < sample.targets.size(); ++i) sum += *nll++;
      sums.nll += sum;
      sums.num_targets += static_cast<int64_t>(sample.targets.size());
      sums.mean_nll.push_back(sum / static_cast<double>(sample.targets.size()));
    }
  }
  return sums;
}

/// A score that is not finite can't be judged: nothing of the step is trained.
void report_nonfinite_scores(TrainingRun& run, StepMetrics& m, const SamplePointers& samples,
                             const std::vector<SampleScores>& scores) {
  std::vector<std::optional<double>> mean_nll;
  for (const SampleScores& s : scores) {
    const double sum = std::accumulate(s.nll.begin(), s.nll.end(), 0.0);
    mean_nll.emplace_back(is_finite(s) ? sum / static_cast<double>(s.nll.size()) : std::nan(""));
  }
  m.loss = m.grad_norm = std::nan("");
  report_nonfinite(run, m, {.samples = samples, .scores = scores, .mean_nll = std::move(mean_nll)});
}

/// Backward over what the decision keeps, and the update.
void train_on_kept(TrainingRun& run, const SamplePointers& samples, const std::vector<SampleScores>& scores,
                   const PruneDecision& decision, StepMetrics& m, PhaseClock& clock) {
  const BackwardSums sums = backward_sum(run, kept_samples(samples, decision, run.token_mode));
  m.tokens_trained = sums.num_targets;
  clock.end(m.seconds.train);

  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, sums.num_targets));
  m.loss = sums.nll * scale;
  m.grad_norm = run.optimizer->gradient_norm() * scale;
  if (std::isfinite(m.loss) && std::isfinite(m.grad_norm)) {
    run.optimizer->update(m.learning_rate, scale * clip_factor(m.grad_norm, run.config().max_grad_norm));
    run.skipped_in_a_row = 0;
    return;
  }
  std::vector<std::optional<double>> mean_nll(samples.size());
  auto kept_nll = sums.mean_nll.begin();
  for (size_t i = 0; i < samples.size(); ++i) {
    if (decision.samples[i].kept) mean_nll[i] = *kept_nll++;
  }
  report_nonfinite(run, m,
                   {.samples = samples, .scores = scores, .mean_nll = std::move(mean_nll), .decision = &decision});
}

}  // namespace

StepResult train_step(TrainingRun& run) {
  PhaseClock clock;
  StepResult result;
  StepMetrics& m = result.metrics;
  const std::vector<TokenizedSample> own_samples = next_samples(run);
  const SamplePointers samples = pointers_to(own_samples);
  m.step = run.state.step + 1;
  m.epoch = run.sampler->epoch();
  m.learning_rate = run.schedule.at(run.state.step);
  for (const TokenizedSample* sample : samples) m.tokens_seen += sample->num_tokens();
  if (run.pruner.needs_scores()) m.tokens_scored = m.tokens_seen;
  clock.end(m.seconds.other);

  const std::vector<SampleScores> scores = score_samples(run, samples);
  clock.end(m.seconds.score);
  if (std::all_of(scores.begin(), scores.end(), is_finite)) {
    result.decision = decide(run, scores);
    m.kept_samples = count_kept(result.decision);
    if (result.decision.thresholds) m.alpha = result.decision.thresholds->alpha;
    clock.end(m.seconds.decide);
    train_on_kept(run, samples, scores, result.decision, m, clock);
  } else {
    report_nonfinite_scores(run, m, samples, scores);
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
