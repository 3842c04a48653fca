#include "best_model.h"

#include <fmt/format.h>

#include <cmath>

#include "qtune/base/error.h"
#include "qtune/base/log.h"

namespace qtune {

void note_evaluation(TrainerState& state, double eval_loss) {
  if (state.step == 0) return;
  const bool better = std::isfinite(eval_loss) && (state.best_step < 0 || eval_loss < state.best_eval_loss);
  if (!better) {
    ++state.evaluations_since_best;
    return;
  }
  state.best_step = state.step;
  state.best_eval_loss = eval_loss;
  state.evaluations_since_best = 0;
}

bool stops_early(const TrainConfig& config, const TrainerState& state) {
  return config.early_stopping_steps && state.evaluations_since_best >= *config.early_stopping_steps;
}

bool saves_best(const TrainConfig& config, const TrainerState& state) {
  return config.load_best_model_at_end && config.save_strategy != "no" && state.best_step == state.step;
}

bool load_best(TrainingRun& run) {
  const TrainerState& state = run.state;
  if (!run.config().load_best_model_at_end || state.best_step < 0 || state.best_step == state.step) return true;
  const auto checkpoint = checkpoint_path(run.output_dir, state.best_step);
  const auto fault = fault_of_checkpoint(checkpoint);
  if (fault) {
    spdlog::error("load_best_model_at_end: {}: {}; the last weights are kept", checkpoint.string(), *fault);
    return false;
  }
  load_weights(checkpoint, run.model);
  spdlog::info("the model is that of {}, the best: held-out loss {:.4f}", checkpoint.string(), state.best_eval_loss);
  return true;
}

}  // namespace qtune
