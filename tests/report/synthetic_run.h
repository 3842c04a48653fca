// A run's folder as training would leave it, of any size.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "qtune/base/file.h"
#include "qtune/base/rng.h"
#include "qtune/metrics/metrics_writer.h"
#include "qtune/prune/pruner.h"
#include "qtune/report/sample_text.h"

namespace qtune {

struct SyntheticRun {
  int64_t steps = 10, samples_a_step = 16, num_samples = 64;
  int64_t tokens = 40;  // of a sample
  uint64_t seed = 7;
};

inline double uniform(CounterRng& rng) { return static_cast<double>(rng.next_below(1 << 20)) / (1 << 20); }

/// Samples in their order, again and again; decisions are Q-Tuning's.
inline void write_run(const std::filesystem::path& folder, const SyntheticRun& run) {
  std::filesystem::create_directories(folder);
  MetricsWriter metrics(folder);
  DecisionLog log(folder);
  const Pruner pruner = make_pruner({.sample_method = "qtuning", .sample_keep = 0.25, .token_method = "qtuning"});
  for (int64_t step = 1; step <= run.steps; ++step) {
    std::vector<SampleScores> scores;
    for (int64_t i = 0; i < run.samples_a_step; ++i) {
      const int64_t sample = ((step - 1) * run.samples_a_step + i) % run.num_samples;
      CounterRng rng(run.seed, static_cast<uint64_t>(step * 1000003 + i));
      SampleScores s{.id = fmt::format("train-{}", sample)};
      const double level = 0.4 + 1.6 * uniform(rng), unsure = 0.4 + 1.8 * uniform(rng);
      for (int64_t k = 0; k < run.tokens; ++k) {
        s.nll.push_back(level * (0.5 + uniform(rng)));
        s.entropy.push_back(unsure * (0.5 + uniform(rng)));
        s.span.push_back(0);
      }
      scores.push_back(std::move(s));
    }
    const PruneDecision decision = pruner.decide(scores, {.draw = static_cast<uint64_t>(step)});
    StepMetrics m{.step = step, .epoch = 0.1, .loss = 1 + 1 / std::sqrt(static_cast<double>(step)), .grad_norm = 1};
    m.learning_rate = 1e-4;
    m.tokens_seen = m.tokens_scored = run.samples_a_step * run.tokens;
    m.tokens_trained = m.tokens_seen / 6;
    m.kept_samples = count_kept(decision);
    m.alpha = decision.thresholds->alpha;
    m.seconds = {.score = 0.4, .decide = 0.01, .train = 0.5, .optimizer = 0.1, .other = 0.02};
    m.peak_memory_bytes = int64_t{3} << 30;
    metrics.write(m);
    log.write(step, decision.samples);
  }
  metrics.write(EvalMetrics{.step = run.steps, .eval_loss = 1.2, .eval_loss_stderr = 0.1, .eval_samples = 4});
}

/// About four letters a token, hard to compress; every token but the first ten is trainable.
inline std::map<std::string, SampleText> synthetic_texts(std::span<const std::string> ids, int64_t tokens) {
  std::map<std::string, SampleText> texts;
  for (const std::string& id : ids) {
    CounterRng rng(3, std::hash<std::string>()(id));
    SampleText text;
    for (int64_t k = 0; k < tokens + 10; ++k) {
      std::string piece = " ";
      for (int letter = 0; letter < 3; ++letter) piece += static_cast<char>('a' + rng.next_below(20));
      text.pieces.push_back(piece);
      text.trainable.push_back(k < 10 ? 0 : 1);
    }
    texts.emplace(id, std::move(text));
  }
  return texts;
}

}  // namespace qtune
