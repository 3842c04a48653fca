#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "nonfinite.h"
#include "qtune/ops/device.h"
#include "qtune/score/score_pass.h"
#include "qtune/train/config_options.h"
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
  const ProfileRange range(run.model.options().device, "score");
  if (run.pruner.needs_scores()) {
    const TrainConfig& c = run.config();
    return score_pass(run.model, samples, c.per_device_train_batch_size, score_type(c));
  }
  std::vector<SampleScores> scores;
  for (const TokenizedSample* sample : samples) scores.push_back(unscored(*sample));
  return scores;
}

/// Judges all samples together (global), or each micro-batch alone (micro, the paper's).
PruneDecision decide(const TrainingRun& run, std::span<const SampleScores> scores) {
  const ProfileRange range(run.model.options().device, "decide");
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

/// Gradients of the sum of nll over all kept tokens, micro-batch by micro-batch. Returns the nll of each, in order, on
/// the model's device: nothing waits for them here.
at::Tensor backward_sum(TrainingRun& run, std::span<const PackedSample> kept) {
  const ProfileRange range(run.model.options().device, "train");
  std::vector<at::Tensor> nll;
  const size_t micro_batch = static_cast<size_t>(run.config().per_device_train_batch_size);
  run.model.zero_gradients();
  run.model.start_step(run.state.step);
  for (size_t first = 0; first < kept.size(); first += micro_batch) {
    const auto group = kept.subspan(first, std::min(micro_batch, kept.size() - first));
    nll.push_back(run.model.forward_backward(pack(group)).nll_N);
  }
  return nll.empty() ? at::empty({0}, at::kFloat) : at::cat(nll);
}

struct StepLoss {
  double nll = 0;                // sum over all kept tokens
  std::vector<double> mean_nll;  // of each kept sample
};

StepLoss sum_losses(std::span<const PackedSample> kept, const at::Tensor& nll_N) {
  StepLoss loss;
  const at::Tensor host = nll_N.to(at::kCPU);
  const float* nll = host.data_ptr<float>();
  for (const PackedSample& sample : kept) {
    double sum = 0;
    for (size_t i = 0; i < sample.targets.size(); ++i) sum += *nll++;
    loss.nll += sum;
    loss.mean_nll.push_back(sum / static_cast<double>(sample.targets.size()));
  }
  return loss;
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
                   const PruneDecision& decision, StepMetrics& m) {
  const std::vector<PackedSample> kept = kept_samples(samples, decision, run.token_mode);
  for (const PackedSample& sample : kept) m.tokens_trained += static_cast<int64_t>(sample.targets.size());
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, m.tokens_trained));
  const auto watch = make_stopwatch(run.model.options().device);
  watch->mark();
  const at::Tensor nll_N = backward_sum(run, kept);
  watch->mark();
  const ProfileRange range(run.model.options().device, "optimizer");
  run.optimizer->update(m.learning_rate, scale, run.config().max_grad_norm, nll_N);
  watch->mark();
  // The one wait of a step besides that for the scores.
  m.grad_norm = run.optimizer->finish_update();
  m.seconds.train = watch->seconds(0);
  m.seconds.optimizer = watch->seconds(1);
  const StepLoss loss = sum_losses(kept, nll_N);
  m.loss = loss.nll * scale;
  if (std::isfinite(m.grad_norm)) {
    run.skipped_in_a_row = 0;
    return;
  }
  std::vector<std::optional<double>> mean_nll(samples.size());
  auto kept_nll = loss.mean_nll.begin();
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
    train_on_kept(run, samples, scores, result.decision, m);
  } else {
    report_nonfinite_scores(run, m, samples, scores);
  }
  clock.end(m.seconds.other);  // but for what train_on_kept timed itself
  m.seconds.other -= m.seconds.train + m.seconds.optimizer;

  run.state.step = m.step;
  run.state.epoch = m.epoch;
  run.state.num_updates = run.optimizer->num_updates();
  run.state.tokens_seen += m.tokens_seen;
  run.state.tokens_scored += m.tokens_scored;
  run.state.tokens_trained += m.tokens_trained;
  m.peak_memory_bytes = peak_memory_bytes(run.model.options().device);
  return result;
}

}  // namespace qtune
