// Held-out loss and perplexity as an evaluation task: resumable, with a line a sample.
#pragma once

#include <vector>

#include "qtune/eval/run_task.h"
#include "qtune/text/sample_store.h"

namespace qtune {

inline constexpr const char* kLossTask = "loss";

/// Mean negative log-likelihood in nats over the trainable tokens of the first `limit` samples, and its exponential.
/// Standard errors are over samples, since tokens of one sample are not independent (ratio estimator).
/// `data` tells the samples in the settings; it is part of what a resumed run is held against.
/// Throws: DataError when no token is trainable; as run_task.
std::vector<MetricResult> run_held_out_loss(Model& model, const SampleSet& samples, const nlohmann::ordered_json& data,
                                            const EvalSettings& settings);

}  // namespace qtune
