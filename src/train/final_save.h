// The end of a run: its final model, written even where the disk is full just then.
#pragma once

#include <functional>

#include "run.h"
#include "signals.h"

namespace qtune {

/// Writes the model or adapter, final_model.json and the run's state to output_dir. While the disk has no room it is
/// tried again, for 10 minutes at most or until `stop` is asked for: the training must not be lost to that.
/// `before_log`: called before something is said.
/// Throws: as save_trained.
void save_final_model(TrainingRun& run, const StopRequest& stop, const std::function<void()>& before_log);

}  // namespace qtune
