// What happens where numbers stop being finite: evidence for the user, and no update with them.
#pragma once

#include <optional>
#include <vector>

#include "run.h"

namespace qtune {

/// What is known of a step that went wrong. All vectors follow the step's order.
struct StepEvidence {
  const std::vector<const TokenizedSample*>& samples;
  const std::vector<SampleScores>& scores;
  std::vector<std::optional<double>> mean_nll;  // none where it was not computed
  const PruneDecision* decision = nullptr;      // null: the scores could not be judged
};

bool is_finite(const SampleScores& scores);

/// Leaves the evidence in the run's folder, a line a sample, then stops or warns. Weights have not been touched.
/// Throws: NonFiniteError with on_nonfinite: stop, after three such steps in a row, or when the run's last step is one
/// and no step before it trained anything.
void report_nonfinite(TrainingRun& run, const StepMetrics& metrics, const StepEvidence& evidence);

/// Before weights are written. Throws: NonFiniteError naming the first parameter that is not finite.
void check_weights(TrainingRun& run);

}  // namespace qtune
