// metrics.jsonl and decisions.jsonl of a run's folder.
#pragma once

#include <filesystem>
#include <span>

#include "qtune/metrics/line_log.h"
#include "qtune/metrics/step_metrics.h"
#include "qtune/prune/scores.h"

namespace qtune {

/// OUTPUT_DIR/metrics.jsonl: one JSON object a step, and one an evaluation (told apart by the key eval_loss). Numbers
/// that are not finite, and an absent alpha, are null. Each line is in the file when write returns.
class MetricsWriter {
 public:
  /// `start`: {} for a new run, else the position that the checkpoint stored (see LineLog).
  explicit MetricsWriter(const std::filesystem::path& output_dir, LogPosition start = {});

  void write(const StepMetrics& metrics);
  void write(const EvalMetrics& metrics);
  LogPosition sync() { return log_.sync(); }

 private:
  LineLog log_;
};

/// OUTPUT_DIR/decisions.jsonl: one line a judged sample, `step`, `rank` and the keys of qtune select. After 256 MiB it
/// goes on in decisions.1.jsonl, then decisions.2.jsonl, ...; the samples of one step are never split.
class DecisionLog {
 public:
  static constexpr int64_t kMaxPartBytes = int64_t{256} << 20;

  explicit DecisionLog(const std::filesystem::path& output_dir, LogPosition start = {},
                       int64_t max_part_bytes = kMaxPartBytes);

  /// `ranks[i]` held samples[i]; empty: all were rank 0's. Throws: Error when the lengths differ.
  void write(int64_t step, std::span<const SampleDecision> samples, std::span<const int32_t> ranks = {});
  LogPosition sync() { return log_.sync(); }

 private:
  LineLog log_;
};

}  // namespace qtune
