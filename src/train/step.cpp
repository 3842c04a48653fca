#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>

#include "data_parallel.h"
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

/// Scores of all samples; each rank computes some.
std::vector<SampleScores> score_samples(TrainingRun& run, const SamplePointers& samples, std::span<const int> ranks) {
  const ProfileRange range(run.model.options().device, "score");
  run.communicator->set_phase("score");
  const std::vector<ScoreArray> arrays = run.pruner.needed_arrays();
  std::vector<SampleScores> scores;
  if (arrays.empty()) {
    for (const TokenizedSample* sample : samples) scores.push_back(unscored(*sample));
    return scores;
  }
  SamplePointers own;
  for (size_t i = 0; i < samples.size(); ++i) {
    if (ranks[i] == run.communicator->rank()) own.push_back(samples[i]);
  }
  const TrainConfig& c = run.config();
  if (run.pruner.needs_scores()) {
    if (score_type(c) == ScoreType::kFp8) run.model.prepare_fp8_scores();
    scores = score_pass(run.model, own, c.per_device_train_batch_size, score_type(c));
  } else {
    for (const TokenizedSample* sample : own) scores.push_back(unscored(*sample));
  }
  add_extra_scores(run.model, run.compared, c, arrays, own, scores);
  return gather_scores(*run.communicator, samples, ranks, arrays, std::move(scores));
}

/// Judges all samples together (global), or each micro-batch alone (micro, the paper's).
PruneDecision decide(const TrainingRun& run, std::span<const SampleScores> scores) {
  const ProfileRange range(run.model.options().device, "decide");
  const uint64_t step = static_cast<uint64_t>(run.state.step);
  const double progress = static_cast<double>(run.state.step) / static_cast<double>(run.state.total_steps);
  if (run.config().pruning.scope == "global") return run.pruner.decide(scores, {.draw = step, .progress = progress});
  PruneDecision all;
  const size_t group = static_cast<size_t>(run.config().per_device_train_batch_size);
  for (size_t first = 0; first < scores.size(); first += group) {
    // Micro-batches of one step draw different random numbers.
    const uint64_t draw = step * static_cast<uint64_t>(run.state.samples_per_step) + first;
    PruneDecision part = run.pruner.decide(scores.subspan(first, std::min(group, scores.size() - first)),
                                           {.draw = draw, .progress = progress});
    if (group >= scores.size()) all.thresholds = part.thresholds;
    all.loss_tokens += part.loss_tokens;
    std::move(part.samples.begin(), part.samples.end(), std::back_inserter(all.samples));
  }
  return all;
}

/// Gradients of the sum of weight * nll over all ranks' kept tokens; this rank computes its own, micro-batch by
/// micro-batch. Returns the nll of each of those, in order, on the model's device: nothing waits for them here.
/// `watch` is marked before and after the wait for the other ranks.
at::Tensor backward_sum(TrainingRun& run, std::span<const PackedSample> own, Stopwatch& watch) {
  const ProfileRange range(run.model.options().device, "train");
  run.communicator->set_phase("train");
  std::vector<at::Tensor> nll;
  const size_t micro_batch = static_cast<size_t>(run.config().per_device_train_batch_size);
  run.model.zero_gradients();
  constexpr int64_t kPassesOfARank = 1 << 20;
  run.model.start_step(run.state.step, run.communicator->rank() * kPassesOfARank);
  const bool rounds = run.config().reduce_dtype == "bfloat16";
  GradientReducer reducer(run.model, *run.communicator, rounds ? at::kBFloat16 : at::kFloat);
  for (size_t first = 0; first < own.size(); first += micro_batch) {
    const auto group = own.subspan(first, std::min(micro_batch, own.size() - first));
    const bool last = first + micro_batch >= own.size();
    const auto layer_done = [&](int64_t layer) {
      if (last) reducer.layer_done(layer);
    };
    nll.push_back(run.model.forward_backward(pack(group), layer_done).nll_N);
  }
  watch.mark();
  reducer.finish();
  watch.mark();
  return nll.empty() ? at::empty({0}, at::TensorOptions(at::kFloat).device(run.model.options().device)) : at::cat(nll);
}

/// Sum of nll of each sample.
std::vector<double> sums_of(std::span<const PackedSample> own, const at::Tensor& nll_N) {
  std::vector<double> sums;
  const at::Tensor host = nll_N.to(at::kCPU);
  const float* nll = host.data_ptr<float>();
  for (const PackedSample& sample : own) {
    double sum = 0;
    for (size_t i = 0; i < sample.targets.size(); ++i) sum += *nll++;
    sums.push_back(sum);
  }
  return sums;
}

/// The losses, as far as the optimizer looks at them: whether they are finite, on every rank the same.
at::Tensor losses_of_all(Communicator& communicator, const at::Tensor& own_nll_N) {
  if (communicator.world_size() == 1) return own_nll_N;
  const at::Tensor sum = own_nll_N.sum().reshape({1});
  communicator.all_reduce_sum(sum);
  return sum;
}

/// Who is slow: each rank's own and waiting time.
void gather_times(Communicator& communicator, double wait_seconds, StepMetrics& m) {
  if (communicator.world_size() == 1) return;
  std::vector<int> one_each(static_cast<size_t>(communicator.world_size()));
  std::iota(one_each.begin(), one_each.end(), 0);
  const double train = m.seconds.train - wait_seconds;
  m.rank_train_seconds = gather_values(communicator, one_each, std::span(&train, 1));
  m.rank_wait_seconds = gather_values(communicator, one_each, std::span(&wait_seconds, 1));
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

/// Backward over what the decision keeps, and the update. ranks: in, of each sample in the score pass; out, of each
/// kept sample in this one.
void train_on_kept(TrainingRun& run, const SamplePointers& samples, const std::vector<SampleScores>& scores,
                   const PruneDecision& decision, StepMetrics& m, std::vector<int>& ranks) {
  Communicator& communicator = *run.communicator;
  const std::vector<PackedSample> kept = kept_samples(samples, decision, run.token_mode);
  for (const PackedSample& sample : kept) m.tokens_trained += static_cast<int64_t>(sample.targets.size());
  const std::vector<int> ranks_of_kept = training_ranks(kept, communicator.world_size());
  std::vector<PackedSample> own;
  for (size_t i = 0; i < kept.size(); ++i) {
    if (ranks_of_kept[i] == communicator.rank()) own.push_back(kept[i]);
  }
  const double scale = 1.0 / static_cast<double>(std::max<int64_t>(1, decision.loss_tokens));
  const auto watch = make_stopwatch(run.model.options().device);
  watch->mark();
  const at::Tensor nll_N = backward_sum(run, own, *watch);
  const ProfileRange range(run.model.options().device, "optimizer");
  communicator.set_phase("optimizer");
  run.optimizer->update(m.learning_rate, scale, run.config().max_grad_norm, losses_of_all(communicator, nll_N));
  // The one wait of a step besides that for the scores.
  m.grad_norm = run.optimizer->finish_update();
  if (run.optimizer->shard().count > 1) share_weights(communicator, run.model);
  watch->mark();
  const double wait_seconds = watch->seconds(1);
  m.seconds.train = watch->seconds(0) + wait_seconds;
  m.seconds.optimizer = watch->seconds(2);
  gather_times(communicator, wait_seconds, m);
  const std::vector<double> sums = gather_values(communicator, ranks_of_kept, sums_of(own, nll_N));
  m.loss = 0;
  for (size_t k = 0; k < kept.size(); ++k) m.loss += kept[k].weight * sums[k];
  m.loss *= scale;
  std::vector<std::optional<double>> mean_nll(samples.size());
  for (size_t i = 0, k = 0; i < samples.size(); ++i) {
    if (!decision.samples[i].kept) continue;
    mean_nll[i] = sums[k] / static_cast<double>(kept[k].targets.size());
    ranks[i] = ranks_of_kept[k++];
  }
  if (std::isfinite(m.grad_norm)) {
    run.skipped_in_a_row = 0;
    return;
  }
  report_nonfinite(run, m,
                   {.samples = samples, .scores = scores, .mean_nll = std::move(mean_nll), .decision = &decision});
}

}  // namespace

StepResult train_step(TrainingRun& run) {
  PhaseClock clock;
  StepResult result;
  StepMetrics& m = result.metrics;
  result.samples = next_samples(run);
  const SamplePointers samples = pointers_to(result.samples);
  m.step = run.state.step + 1;
  m.epoch = run.sampler->epoch();
  m.learning_rate = run.schedule.at(run.state.step);
  for (const TokenizedSample* sample : samples) m.tokens_seen += sample->num_tokens();
  if (run.pruner.needs_scores()) m.tokens_scored = m.tokens_seen;
  clock.end(m.seconds.other);

  std::vector<int> ranks =
      scoring_ranks(samples, run.config().per_device_train_batch_size, run.communicator->world_size());
  const std::vector<SampleScores> scores = score_samples(run, samples, ranks);
  clock.end(m.seconds.score);
  if (std::all_of(scores.begin(), scores.end(), is_finite)) {
    result.decision = decide(run, scores);
    m.kept_samples = count_kept(result.decision);
    if (result.decision.thresholds) m.alpha = result.decision.thresholds->alpha;
    clock.end(m.seconds.decide);
    train_on_kept(run, samples, scores, result.decision, m, ranks);
    result.ranks.assign(ranks.begin(), ranks.end());
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
