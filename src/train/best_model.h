// Which evaluation was the best so far, and what follows from it: early stopping, and the model that a run ends with.
#pragma once

#include "run.h"

namespace qtune {

/// Takes an evaluation's loss into account: better is lower, a tie is not. A loss that is not finite is never better.
/// That before the first step does not count: there is no checkpoint of it.
void note_evaluation(TrainerState& state, double eval_loss);

/// early_stopping_steps: so many evaluations in a row were not better.
bool stops_early(const TrainConfig& config, const TrainerState& state);

/// load_best_model_at_end: a checkpoint has to follow the step just done, since it is the best so far.
bool saves_best(const TrainConfig& config, const TrainerState& state);

/// load_best_model_at_end: gives the model the weights of the best checkpoint, where that is not the last step's.
/// False: it is gone; the last weights stay, and that is said as an error.
bool load_best(TrainingRun& run);

}  // namespace qtune
