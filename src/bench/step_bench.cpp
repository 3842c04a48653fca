#include "qtune/bench/step_bench.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "qtune/batch/pack.h"
#include "qtune/ops/device.h"
#include "qtune/optim/optimizer.h"
#include "qtune/score/score_pass.h"

namespace qtune {
namespace {

TokenizedSample make_sample(const StepBenchOptions& o, int64_t vocab_size, int64_t number) {
  TokenizedSample sample;
  CounterRng rng(o.seed, static_cast<uint64_t>(number));
  // Half of the samples use few words: perplexities and entropies differ, as a pruner expects.
  const auto words = static_cast<uint64_t>(number % 2 == 0 ? vocab_size : std::min<int64_t>(vocab_size, 100));
  for (int64_t k = 0; k < o.length; ++k) {
    sample.input_ids.push_back(static_cast<int32_t>(rng.next_below(words)));
    sample.trained.push_back(k >= o.length / 2);
    sample.end_of_turn.push_back(k + 1 == o.length);
  }
  return sample;
}

struct Phases {
  double score = 0, decide = 0, train = 0, optimizer = 0;
  double total() const { return score + decide + train + optimizer; }
};

class StepBench {
 public:
  explicit StepBench(const StepBenchOptions& o)
      : o_(o),
        model_(Model::load(o.model, training_options(o))),
        optimizer_(model_, {}),
        pruner_(make_pruner(o.pruner)) {
    const ModelConfig& c = model_.config();
    if (o.length > c.max_positions) {
      throw ConfigError(fmt::format("--length: expected samples within the model's {} positions, found {}",
                                    c.max_positions, o.length));
    }
    for (int64_t i = 0; i < o.num_samples; ++i) samples_.push_back(make_sample(o, c.vocab_size, i));
    for (const TokenizedSample& sample : samples_) pointers_.push_back(&sample);
  }

  StepBenchResult run() {
    StepBenchResult result{.num_samples = o_.num_samples, .num_tokens = o_.num_samples * o_.length};
    step(result);
    std::vector<Phases> phases;
    for (int i = 0; i < o_.num_steps; ++i) phases.push_back(step(result));
    const auto median = [&](auto value) {
      std::vector<double> values;
      for (const Phases& p : phases) values.push_back(value(p));
      std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
      return values[values.size() / 2];
    };
    result.step_seconds = median([](const Phases& p) { return p.total(); });
    result.score_seconds = median([](const Phases& p) { return p.score; });
    result.decide_seconds = median([](const Phases& p) { return p.decide; });
    result.train_seconds = median([](const Phases& p) { return p.train; });
    result.optimizer_seconds = median([](const Phases& p) { return p.optimizer; });
    result.peak_memory_bytes = peak_memory_bytes(model_.options().device);
    return result;
  }

 private:
  static ModelOptions training_options(const StepBenchOptions& o) {
    ModelOptions options = o.model_options;
    options.use = ModelUse::kTraining;
    return options;
  }

  /// As train/step.cpp does it, waiting after every phase.
  Phases step(StepBenchResult& result) {
    Phases phases;
    auto last = std::chrono::steady_clock::now();
    const auto end = [&](double& phase) {
      synchronize(model_.options().device);
      const auto now = std::chrono::steady_clock::now();
      phase = std::chrono::duration<double>(now - last).count();
      last = now;
    };
    std::vector<SampleScores> scores;
    if (pruner_.needs_scores()) {
      if (o_.score_type == ScoreType::kFp8) model_.prepare_fp8_scores();
      scores = score_pass(model_, pointers_, o_.micro_batch, o_.score_type);
    } else {
      for (const TokenizedSample* sample : pointers_) scores.push_back(unscored(*sample));
    }
    end(phases.score);
    const PruneDecision decision = pruner_.decide(scores, {.draw = step_});
    const std::vector<PackedSample> kept = kept_samples(pointers_, decision, TokenMode::kMask);
    end(phases.decide);
    train(kept, result);
    end(phases.train);
    optimizer_.update(1e-5, 1.0 / static_cast<double>(std::max<int64_t>(1, result.targets)), 1.0, nll_N_);
    check_updated(optimizer_.finish_update());
    end(phases.optimizer);
    count(kept, result);
    ++step_;
    return phases;
  }

  void train(const std::vector<PackedSample>& kept, StepBenchResult& result) {
    model_.zero_gradients();
    model_.start_step(static_cast<int64_t>(step_));
    result.targets = 0;
    const auto group = static_cast<size_t>(o_.micro_batch);
    for (size_t first = 0; first < kept.size(); first += group) {
      const std::span<const PackedSample> part(kept.data() + first, std::min(group, kept.size() - first));
      nll_N_ = model_.forward_backward(pack(part)).nll_N;
      result.targets += nll_N_.size(0);
    }
  }

  /// A step whose update was left out is not what is measured.
  void check_updated(double norm) {
    if (std::isfinite(norm)) return;
    std::string where = "the losses are not finite";
    for (const Parameter& p : model_.parameters()) {
      if (!std::isfinite(p.gradient.sum().item<double>())) where = "the gradient of " + p.name + " is not finite";
    }
    throw Error(fmt::format("bench step {}: the optimizer left the weights as they are: {}", step_, where));
  }

  void count(const std::vector<PackedSample>& kept, StepBenchResult& result) const {
    const ModelConfig& c = model_.config();
    const auto p = static_cast<double>(c.num_parameters());
    const double element = model_.options().compute_dtype == at::kFloat ? 4 : 2;
    const bool full = !model_.lora().has_value();
    result.kept_samples = static_cast<int64_t>(kept.size());
    result.kept_tokens = 0;
    for (const PackedSample& sample : kept) result.kept_tokens += static_cast<int64_t>(sample.input_ids.size());
    // Backward: gradients of inputs, and with full fine-tuning of weights; checkpointing computes the layers again.
    const double passes = 2.0 + (full ? 1.0 : 0.0) + (model_.options().gradient_checkpointing ? 1.0 : 0.0);
    result.train_flops = passes * forward_flops(c, result.kept_tokens, o_.length, result.targets);
    result.step_flops = result.train_flops;
    const int64_t scored = pruner_.needs_scores() ? result.num_tokens : 0;
    result.step_flops += forward_flops(c, scored, o_.length, scored / 2);
    const auto batches = [&](int64_t n) { return static_cast<double>((n + o_.micro_batch - 1) / o_.micro_batch); };
    result.step_bytes =
        element * p * (batches(scored > 0 ? o_.num_samples : 0) + passes * batches(result.kept_samples));
    if (full) result.step_bytes += (30 + element) * p;
  }

  StepBenchOptions o_;
  Model model_;
  Optimizer optimizer_;
  Pruner pruner_;
  std::vector<TokenizedSample> samples_;
  std::vector<const TokenizedSample*> pointers_;
  at::Tensor nll_N_;
  uint64_t step_ = 0;
};

}  // namespace

double forward_flops(const ModelConfig& c, int64_t num_tokens, int64_t length, int64_t num_targets) {
  const auto d = static_cast<double>(c.hidden_size), f = static_cast<double>(c.intermediate_size);
  const auto w = static_cast<double>(c.num_heads * c.head_dim), x = static_cast<double>(c.qkv_width());
  const int64_t window = c.sliding_window > 0 ? std::min(c.sliding_window, length) : length;
  // A token sees half the sample on average, or its window.
  const double seen = window < length ? static_cast<double>(window) : static_cast<double>(length) / 2;
  const double layer = 2 * d * x + 2 * w * d + 3 * 2 * d * f + 4 * w * seen;
  return static_cast<double>(num_tokens) * static_cast<double>(c.num_layers) * layer +
         2 * static_cast<double>(num_targets) * d * static_cast<double>(c.vocab_size);
}

DevicePeaks measure_peaks(at::Device device, at::ScalarType compute_dtype) {
  const int64_t n = device.is_cpu() ? 1024 : 8192;
  const auto options = at::TensorOptions(compute_dtype).device(device);
  const at::Tensor a = at::randn({n, n}, options), b = at::randn({n, n}, options);
  at::Tensor c = at::empty({n, n}, options);
  const double product = measure(
                             device, [&] { at::mm_out(c, a, b); }, 0.5)
                             .median_seconds;
  const int64_t size = device.is_cpu() ? 1 << 25 : 1 << 28;
  const at::Tensor from = at::randn({size}, options.dtype(at::kFloat)), to = at::empty(from.sizes(), from.options());
  const double copy = measure(
                          device, [&] { to.copy_(from); }, 0.5)
                          .median_seconds;
  return {.flops = 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / product,
          .bytes = 2.0 * 4.0 * static_cast<double>(size) / copy};
}

double roofline_share(const StepBenchResult& r, const DevicePeaks& peaks) {
  return (r.step_flops / peaks.flops + r.step_bytes / peaks.bytes) / r.step_seconds;
}

StepBenchResult bench_step(const StepBenchOptions& options) { return StepBench(options).run(); }

}  // namespace qtune
