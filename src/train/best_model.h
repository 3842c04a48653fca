// Which evaluation was the best so far, and what follows from it: early stopping, and the model that a run ends with.
#pragma once

#include "run.h"

namespace qtune {

/// Takes an evaluation's loss into account: better is lower, a tie is not. A loss that is not finite is never better.
void note_evaluation(TrainerState& state, double eval_loss);

/// early_stopping_steps: so many evaluations in a row were not better.
bool stops_early(const TrainConfig& config, const TrainerState& state);

/// load_best_model_at_end: gives the model the weights of the best checkpoint, where that is not the last step's. Where
/// it is gone, the last weights stay, and that is said as an error.
void load_best(TrainingRun& run);

}  // namespace qtune
