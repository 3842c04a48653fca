// Held-out loss.
#pragma once

#include <cstdint>

#include "qtune/dist/communicator.h"
#include "qtune/metrics/step_metrics.h"
#include "qtune/model/model.h"
#include "qtune/text/sample_store.h"

namespace qtune {

/// Mean nll over all trainable tokens of `samples`, with its standard error (tokens of one sample are not independent,
/// so it is taken over samples: ratio estimator). Fills eval_* of the result; at least one trainable token is needed.
/// Ranks take micro-batches in turn, and all get the result, the same bits for any number of them.
EvalMetrics evaluate(Model& model, const SampleSet& samples, int64_t micro_batch, Communicator& communicator);

}  // namespace qtune
