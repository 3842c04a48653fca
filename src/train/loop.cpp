#include <fmt/format.h>

#include <cmath>

#include "nonfinite.h"
#include "qtune/base/error.h"
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
  void evaluate_if_due();
  std::filesystem::path save_checkpoint_now(CheckpointContent content);
  void save_if_due();
  void sync_logs();
  std::string how_to_go_on(const std::filesystem::path& saved) const;
  int stop_early();
  void finish();

  TrainingRun& run_;
  MetricsWriter metrics_;
  DecisionLog decisions_;
  ProgressBar progress_;
};

/// Whether something that happens "no", by "steps" or by "epoch" is due after the step just done. The last step ends
/// with it anyway.
bool TrainingLoop::due(const std::string& strategy, int64_t every) const {
  if (strategy != "no" && run_.state.step == run_.state.total_steps) return true;
  if (strategy == "steps") return run_.state.step % every == 0;
  if (strategy == "epoch") return run_.state.epoch == static_cast<double>(static_cast<int64_t>(run_.state.epoch));
  return false;
}

void TrainingLoop::step() {
  progress_.show_phase("train");
  const StepResult result = train_step(run_);
  metrics_.write(result.metrics);
  if (config().pruning.sample.method != "none" || config().pruning.token.method != "none") {
    decisions_.write(result.metrics.step, result.decision.samples);
  }
  progress_.update(result.metrics);
  if (run_.state.step % config().logging_steps == 0 || run_.state.step == run_.state.total_steps) {
    run_.log->write_line(plain_progress_line(progress_.state()));
  }
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
  const std::string error =
      std::isfinite(result.eval_loss_stderr) ? fmt::format(" +- {:.4f}", result.eval_loss_stderr) : "";
  spdlog::info("step {}: held-out loss {:.4f}{} ({} samples, {} tokens, {:.1f} s)", result.step, result.eval_loss,
               error, result.eval_samples, result.eval_tokens, result.eval_seconds);
}

void TrainingLoop::evaluate_if_due() {
  if (due(config().eval_strategy, config().eval_steps.value_or(config().logging_steps))) evaluate_now();
}

/// The state then says where the logs end.
void TrainingLoop::sync_logs() {
  run_.state.metrics_bytes = metrics_.sync().bytes;
  const LogPosition decisions = decisions_.sync();
  run_.state.decisions_bytes = decisions.bytes;
  run_.state.decisions_file = decisions.part;
}

std::filesystem::path TrainingLoop::save_checkpoint_now(CheckpointContent content) {
  check_weights(run_);
  progress_.show_phase("save");
  sync_logs();
  const auto path = save_checkpoint(
      run_.output_dir, run_.model, *run_.optimizer, run_.state,
      {.model_folder = config().model_name_or_path, .config_yaml = to_yaml(config()), .content = content});
  if (!config().save_total_limit) return path;
  try {
    remove_old_checkpoints(run_.output_dir, *config().save_total_limit, run_.state.step);
  } catch (const std::filesystem::filesystem_error& e) {
    progress_.clear();
    spdlog::warn("save_total_limit: an old checkpoint stays: {}", e.what());
  }
  return path;
}

void TrainingLoop::save_if_due() {
  if (!due(config().save_strategy, config().save_steps)) return;
  try {
    save_checkpoint_now(config().save_only_model ? CheckpointContent::kModelOnly : CheckpointContent::kResumable);
  } catch (const CheckpointError& e) {
    // The run is worth more than one checkpoint: go on, the next save may find room.
    progress_.clear();
    spdlog::error("{}; checkpoint not saved, training goes on", e.what());
  }
}

/// The same command goes on by itself, unless it was told where to start.
std::string TrainingLoop::how_to_go_on(const std::filesystem::path& saved) const {
  const std::string wish = config().resume_from_checkpoint.value_or("");
  const bool starts_elsewhere = wish.empty() ? config().overwrite_output_dir : wish != "true";
  if (!starts_elsewhere) return "run the same command again to go on";
  return fmt::format("run the same command again with resume_from_checkpoint={} to go on", saved.string());
}

int TrainingLoop::stop_early() {
  progress_.clear();
  const auto saved = save_checkpoint_now(CheckpointContent::kResumable);  // save_only_model would lose the run
  write_trainer_state(run_.output_dir, run_.state);
  progress_.finish();
  spdlog::warn("stopped after step {} of {}; saved {} ---> {}", run_.state.step, run_.state.total_steps, saved.string(),
               how_to_go_on(saved));
  return kExitInterrupted;
}

void TrainingLoop::finish() {
  check_weights(run_);
  progress_.show_phase("save");
  save_trained(run_.model, config().model_name_or_path, run_.output_dir, Dtype::kBF16);
  sync_logs();
  write_trainer_state(run_.output_dir, run_.state);
  progress_.finish();
  spdlog::info("trained {} steps on {} of {} tokens; {} in {}", run_.state.step, run_.state.tokens_trained,
               run_.state.tokens_seen, run_.model.lora() ? "adapter" : "model (bfloat16)", run_.output_dir.string());
}

int TrainingLoop::drive() {
  const StopRequest stop;
  if (config().eval_on_start && run_.state.step == 0) evaluate_now();
  if (run_.state.step > 0) evaluate_if_due();  // a run that was stopped left it to this one
  while (run_.state.step < run_.state.total_steps) {
    step();
    if (!stop.asked()) evaluate_if_due();
    if (stop.asked()) return stop_early();
    save_if_due();
  }
  finish();
  return kExitOk;
}

}  // namespace

int run_training(const LoadedConfig& loaded) {
  const auto log = start_run_log();
  log_notes(loaded);
  TrainingRun run = set_up_training(loaded, log);
  return TrainingLoop(run).drive();
}

}  // namespace qtune
