#include <fmt/format.h>

#include <chrono>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/config/print_config.h"
#include "qtune/model/save_model.h"
#include "qtune/train/evaluate.h"
#include "qtune/train/train.h"
#include "run.h"
#include "signals.h"

namespace qtune {
namespace {

/// Drives a run: steps, evaluations, checkpoints, logs.
class TrainingLoop {
 public:
  explicit TrainingLoop(TrainingRun& run)
      : run_(run),
        metrics_(run.output_dir, {.part = 0, .bytes = run.state.metrics_bytes}),
        decisions_(run.output_dir, {.part = run.state.decisions_file, .bytes = run.state.decisions_bytes}),
        progress_({.total_steps = run.state.total_steps,
                   .first_step = run.state.step,
                   .logging_steps = run.config().logging_steps}) {}

  int drive();

 private:
  const TrainConfig& config() const { return run_.config(); }
  bool due(const std::string& strategy, int64_t every) const;
  void step();
  void evaluate_now();
  std::filesystem::path save_checkpoint_now(CheckpointContent content);
  std::string how_to_go_on() const;
  int stop_early();
  void finish();

  TrainingRun& run_;
  MetricsWriter metrics_;
  DecisionLog decisions_;
  ProgressBar progress_;
};

/// Whether something that happens "no", by "steps" or by "epoch" is due after the step just done.
bool TrainingLoop::due(const std::string& strategy, int64_t every) const {
  if (strategy == "steps") return run_.state.step % every == 0;
  if (strategy == "epoch") return run_.state.epoch == static_cast<double>(static_cast<int64_t>(run_.state.epoch));
  return false;
}

void TrainingLoop::step() {
  const StepResult result = train_step(run_);
  metrics_.write(result.metrics);
  if (config().pruning.sample.method != "none" || config().pruning.token.method != "none") {
    decisions_.write(result.metrics.step, result.decision.samples);
  }
  progress_.update(result.metrics);
}

void TrainingLoop::evaluate_now() {
  if (run_.state.last_eval_step == run_.state.step) return;  // done before the checkpoint that was resumed from
  progress_.show_phase("eval");
  EvalMetrics result = evaluate(run_.model, run_.eval_samples, config().per_device_eval_batch_size);
  result.step = run_.state.step;
  result.epoch = run_.state.epoch;
  metrics_.write(result);
  run_.state.last_eval_step = run_.state.step;
  progress_.clear();
  spdlog::info("step {}: held-out loss {:.4f} +- {:.4f} ({} samples, {} tokens, {:.1f} s)", result.step,
               result.eval_loss, result.eval_loss_stderr, result.eval_samples, result.eval_tokens, result.eval_seconds);
}

std::filesystem::path TrainingLoop::save_checkpoint_now(CheckpointContent content) {
  progress_.show_phase("save");
  run_.state.metrics_bytes = metrics_.sync().bytes;
  const LogPosition decisions = decisions_.sync();
  run_.state.decisions_bytes = decisions.bytes;
  run_.state.decisions_file = decisions.part;
  const auto path = save_checkpoint(
      run_.output_dir, run_.model, *run_.optimizer, run_.state,
      {.model_folder = config().model_name_or_path, .config_yaml = to_yaml(config()), .content = content});
  if (config().save_total_limit) {
    remove_old_checkpoints(run_.output_dir, *config().save_total_limit, run_.state.step);
  }
  return path;
}

/// The same command goes on by itself, unless it was told where to start.
std::string TrainingLoop::how_to_go_on() const {
  const std::string wish = config().resume_from_checkpoint.value_or("");
  const bool starts_elsewhere = wish.empty() ? config().overwrite_output_dir : wish != "true";
  return starts_elsewhere ? "run the same command again with resume_from_checkpoint=true to go on"
                          : "run the same command again to go on";
}

int TrainingLoop::stop_early() {
  progress_.clear();
  const auto saved = save_checkpoint_now(CheckpointContent::kResumable);  // save_only_model would lose the run
  progress_.finish();
  spdlog::warn("stopped after step {} of {}; saved {} ---> {}", run_.state.step, run_.state.total_steps, saved.string(),
               how_to_go_on());
  return kExitInterrupted;
}

void TrainingLoop::finish() {
  progress_.show_phase("save");
  save_model(run_.model, config().model_name_or_path, run_.output_dir, Dtype::kBF16);
  metrics_.sync();
  decisions_.sync();
  progress_.finish();
  spdlog::info("trained {} steps on {} of {} tokens; model (bfloat16) in {}", run_.state.step,
               run_.state.tokens_trained, run_.state.tokens_seen, run_.output_dir.string());
}

int TrainingLoop::drive() {
  const StopRequest stop;
  const bool evaluates = config().eval_strategy != "no";
  const int64_t eval_every = config().eval_steps.value_or(config().logging_steps);
  if (evaluates && config().eval_on_start && run_.state.step == 0) evaluate_now();
  while (run_.state.step < run_.state.total_steps) {
    step();
    if (evaluates && due(config().eval_strategy, eval_every)) evaluate_now();
    if (stop.asked()) return stop_early();
    if (due(config().save_strategy, config().save_steps)) {
      try {
        save_checkpoint_now(config().save_only_model ? CheckpointContent::kModelOnly : CheckpointContent::kResumable);
      } catch (const CheckpointError& e) {
        // The run is worth more than one checkpoint: go on, the next save may find room.
        progress_.clear();
        spdlog::error("{}; checkpoint not saved, training goes on", e.what());
      }
    }
  }
  if (evaluates) evaluate_now();
  finish();
  return kExitOk;
}

}  // namespace

int run_training(const LoadedConfig& loaded) {
  for (const std::string& note : loaded.notes) spdlog::info("note: {}", note);
  TrainingRun run = set_up_training(loaded);
  if (run.config().dry_run) return kExitOk;
  return TrainingLoop(run).drive();
}

}  // namespace qtune
