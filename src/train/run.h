// A training run in memory: what setup builds, the step changes and the loop drives.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "compared_models.h"
#include "output_dir.h"
#include "qtune/batch/epoch_order.h"
#include "qtune/batch/pack.h"
#include "qtune/checkpoint/checkpoint.h"
#include "qtune/config/load_config.h"
#include "qtune/dist/communicator.h"
#include "qtune/metrics/metrics_writer.h"
#include "qtune/metrics/progress_bar.h"
#include "qtune/model/model.h"
#include "qtune/optim/optimizer.h"
#include "qtune/optim/schedule.h"
#include "qtune/prune/pruner.h"
#include "qtune/text/sample_store.h"
#include "run_log.h"

namespace qtune {

struct TrainingRun {
  LoadedConfig loaded;
  std::unique_ptr<OutputDir> folder;  // holds its lock; rank 0 alone
  std::shared_ptr<RunLog> log;
  std::filesystem::path output_dir;
  SampleSet samples, eval_samples;
  Model model;
  Pruner pruner;
  ComparedModels compared;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<StepSampler> sampler;
  std::shared_ptr<Communicator> communicator;
  Schedule schedule;
  TrainerState state;
  std::optional<std::filesystem::path> resumed_from;
  bool is_finished = false;  // nothing is left to train or to write: setup went no further
  TokenMode token_mode = TokenMode::kMask;
  int64_t skipped_in_a_row = 0;  // steps, by on_nonfinite: skip

  const TrainConfig& config() const { return loaded.config; }
};

/// Loads and checks everything that can fail before the first step: data, model, checkpoint to resume from.
/// ranks_here: ranks on this host, which share its memory.
TrainingRun set_up_training(const LoadedConfig& loaded, std::shared_ptr<RunLog> log,
                            std::shared_ptr<Communicator> communicator, at::Device device, int ranks_here);

/// What one step did.
struct StepResult {
  StepMetrics metrics;
  PruneDecision decision;      // of the judged samples, in the step's order
  std::vector<int32_t> ranks;  // that trained each, or scored it where it was dropped
  std::vector<TokenizedSample> samples;
};

/// One optimizer step: score, decide, apply, backward, update.
/// Throws: NonFiniteError (on_nonfinite: stop) naming the step and samples; weights are then as before the step.
StepResult train_step(TrainingRun& run);

}  // namespace qtune
