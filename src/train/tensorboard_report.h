// What report_to: tensorboard gets of a run.
#pragma once

#include "qtune/metrics/tensorboard.h"
#include "qtune/text/sample_view.h"
#include "run.h"

namespace qtune {

/// Whether report_to names TensorBoard ("all": every tracker there is).
bool reports_to_tensorboard(const TrainConfig& config);

class TensorBoardReport {
 public:
  /// A new run's begins with its config.
  explicit TensorBoardReport(const TrainingRun& run);

  /// Numbers, histograms of the scores, and the text of the first kept sample.
  void write(const StepResult& result);
  /// Numbers, and the answers to held-out samples.
  void write(const EvalMetrics& metrics);
  void sync() { writer_.sync(); }

 private:
  TensorBoardWriter writer_;
  DecodeIds decode_;  // empty: there is no tokenizer, ids are shown
};

}  // namespace qtune
