// TensorBoard event files of a run's folder.
// Format: TFRecords of tensorflow.Event messages (tensorboard/compat/proto/{event,summary}.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "qtune/metrics/step_metrics.h"
#include "qtune/prune/scores.h"

namespace qtune {

/// OUTPUT_DIR/events.out.tfevents.TIME.HOST.PID.N, a file for each start of a run, named so that a later start's sorts
/// behind. Scalars are the numbers of metrics.jsonl, in float32 as TensorBoard's own writers have them: "train/loss",
/// "train/kept_samples/Q2", "eval/loss", ...; what is null there is not written. Each call's events are in the file on
/// return.
class TensorBoardWriter {
 public:
  /// `first_step`: of this start. 0, a new run: event files that are there are removed, as its other logs are. Else
  /// (resumed): steps from it on that earlier files hold are marked as void for TensorBoard (SessionLog START).
  /// Throws: CheckpointError naming the path and the system's reason; so do all writes (disk full, ...).
  explicit TensorBoardWriter(const std::filesystem::path& output_dir, int64_t first_step = 0);
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  /// Scalars of a step, and histograms "scores/perplexity" and "scores/entropy" of its judged samples (finite ones;
  /// none: no histogram).
  void write(const StepMetrics& metrics, std::span<const SampleDecision> judged = {});
  void write(const EvalMetrics& metrics);
  /// `markdown`, UTF-8, in the text dashboard.
  void write_text(int64_t step, std::string_view tag, std::string_view markdown);

  /// Makes everything written survive a power cut.
  void sync();

  const std::filesystem::path& path() const { return path_; }

 private:
  void append(std::string_view records);

  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace qtune
