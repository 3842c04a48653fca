#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>

#include "best_model.h"
#include "data_parallel.h"
#include "final_save.h"
#include "nonfinite.h"
#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/config/print_config.h"
#include "qtune/dist/launch.h"
#include "qtune/ops/device.h"
#include "qtune/train/evaluate.h"
#include "qtune/train/train.h"
#include "run.h"
#include "sample_generations.h"
#include "signals.h"
#include "tensorboard_report.h"

namespace qtune {
namespace {

/// Drives a run: steps, evaluations, checkpoints, logs.
class TrainingLoop {
 public:
  explicit TrainingLoop(TrainingRun& run)
      : run_(run), outputs_(run.communicator->is_first() ? std::make_unique<Outputs>(run) : nullptr) {}

  int drive();

 private:
  const TrainConfig& config() const { return run_.config(); }
  bool due(const std::string& strategy, int64_t every) const;
  void step();
  void add_generations(EvalMetrics& result);
  void evaluate_now();
  void evaluate_if_due();
  std::filesystem::path save_checkpoint_now(CheckpointContent content);
  void remove_outdated();
  void remove_superseded();
  void save_if_due();
  void sync_logs();
  std::string how_to_go_on(const std::filesystem::path& saved) const;
  int stop_early();
  int finish(const StopRequest& stop);

  /// What rank 0 alone writes.
  struct Outputs {
    explicit Outputs(const TrainingRun& run)
        : metrics(run.output_dir, {.part = 0, .bytes = run.state.metrics_bytes}),
          decisions(run.output_dir, {.part = run.state.decisions_file, .bytes = run.state.decisions_bytes}),
          progress({.total_steps = run.state.total_steps,
                    .first_step = run.state.step,
                    .logging_steps = run.config().logging_steps}) {
      if (reports_to_tensorboard(run.config())) tensorboard.emplace(run);
      const TrainConfig& c = run.config();
      if (c.num_generation_samples == 0) return;
      generations.emplace(c.model_name_or_path, run.eval_samples, c.num_generation_samples, c.max_new_tokens);
    }
    MetricsWriter metrics;
    DecisionLog decisions;
    ProgressBar progress;
    std::optional<SampleGenerations> generations;
    std::optional<TensorBoardReport> tensorboard;
  };
  void clear_progress() {
    if (outputs_) outputs_->progress.clear();
  }
  void show_phase(const char* phase);
  bool someone_stops(const StopRequest& stop);

  TrainingRun& run_;
  std::unique_ptr<Outputs> outputs_;  // null on the other ranks
};

void TrainingLoop::show_phase(const char* phase) {
  run_.communicator->set_phase(phase);
  if (outputs_) outputs_->progress.show_phase(phase);
}

/// A signal may reach one rank and not, or later, another: all stop after the same step.
bool TrainingLoop::someone_stops(const StopRequest& stop) {
  if (run_.communicator->world_size() == 1) return stop.asked();
  const at::Tensor asked = at::full({1}, stop.asked() ? 1 : 0, at::kInt);
  run_.communicator->all_reduce_sum(asked);
  return asked.item<int32_t>() > 0;
}

/// Whether something that happens "no", by "steps" or by "epoch" is due after the step just done. The last step ends
/// with it anyway.
bool TrainingLoop::due(const std::string& strategy, int64_t every) const {
  if (strategy != "no" && run_.state.step == run_.state.total_steps) return true;
  if (strategy == "steps") return run_.state.step % every == 0;
  if (strategy == "epoch") return run_.state.epoch == static_cast<double>(static_cast<int64_t>(run_.state.epoch));
  return false;
}

void TrainingLoop::step() {
  show_phase("train");
  const StepResult result = train_step(run_);
  if (!outputs_) return;
  outputs_->metrics.write(result.metrics);
  if (config().pruning.sample.method != "none" || config().pruning.token.method != "none") {
    outputs_->decisions.write(result.metrics.step, result.decision.samples, result.ranks);
  }
  outputs_->progress.update(result.metrics);
  if (run_.state.step % config().logging_steps == 0 || run_.state.step == run_.state.total_steps) {
    run_.log->write_line(plain_progress_line(outputs_->progress.state()));
    if (outputs_->tensorboard) outputs_->tensorboard->write(result);
  }
}

/// They are looked at, not trained by: a model whose logits are not finite has none.
void TrainingLoop::add_generations(EvalMetrics& result) {
  try {
    result.generations = outputs_->generations->of(run_.model);
  } catch (const NonFiniteError& e) {
    clear_progress();
    spdlog::warn("step {}: num_generation_samples: no answers: {}", result.step, e.what());
  }
}

void TrainingLoop::evaluate_now() {
  if (run_.state.last_eval_step == run_.state.step) return;  // done before the checkpoint that was resumed from
  show_phase("eval");
  EvalMetrics result = evaluate(run_.model, run_.eval_samples, config().per_device_eval_batch_size, *run_.communicator);
  result.step = run_.state.step;
  result.epoch = run_.state.epoch;
  if (outputs_ && outputs_->generations) add_generations(result);
  if (outputs_) outputs_->metrics.write(result);
  if (outputs_ && outputs_->tensorboard) outputs_->tensorboard->write(result);
  run_.state.last_eval_step = run_.state.step;
  note_evaluation(run_.state, result.eval_loss);
  clear_progress();
  if (!std::isfinite(result.eval_loss)) {
    spdlog::warn("step {}: the held-out loss is not finite ---> lower learning_rate, or look at the held-out samples",
                 result.step);
  }
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
  run_.state.metrics_bytes = outputs_->metrics.sync().bytes;
  const LogPosition decisions = outputs_->decisions.sync();
  run_.state.decisions_bytes = decisions.bytes;
  run_.state.decisions_file = decisions.part;
  if (outputs_->tensorboard) outputs_->tensorboard->sync();
}

std::filesystem::path TrainingLoop::save_checkpoint_now(CheckpointContent content) {
  check_weights(run_);
  show_phase("save");
  check_equal_weights(*run_.communicator, run_.model);  // never save what only one rank has
  const bool sharded = run_.optimizer->shard().count > 1;
  if (!outputs_ && !sharded) return {};  // rank 0 saves; the next step's exchange waits for it
  if (outputs_) sync_logs();
  const CheckpointSource source{
      .model_folder = config().model_name_or_path, .config_yaml = to_yaml(config()), .content = content};
  const auto agree = [&](const std::string& own) { return run_.communicator->gather_bytes(own); };
  const auto path =
      sharded ? save_sharded_checkpoint(run_.output_dir, run_.model, *run_.optimizer, run_.state, source, agree)
              : save_checkpoint(run_.output_dir, run_.model, *run_.optimizer, run_.state, source);
  if (outputs_) remove_outdated();
  return path;
}

/// Checkpoints that something newer is saved instead of.
void TrainingLoop::remove_outdated() try {
  remove_superseded();
  if (!config().save_total_limit) return;
  remove_old_checkpoints(run_.output_dir, *config().save_total_limit, run_.state.step,
                         config().load_best_model_at_end ? run_.state.best_step : -1);
} catch (const std::filesystem::filesystem_error& e) {
  clear_progress();
  spdlog::warn("an old checkpoint stays: {}", e.what());
}

void TrainingLoop::remove_superseded() {
  for (const std::filesystem::path& removed : remove_superseded_checkpoints(run_.output_dir)) {
    clear_progress();
    spdlog::info("removed {}", removed.string());
  }
}

void TrainingLoop::save_if_due() {
  const bool ends = config().save_strategy != "no" && stops_early(config(), run_.state);
  if (!ends && !saves_best(config(), run_.state) && !due(config().save_strategy, config().save_steps)) return;
  try {
    save_checkpoint_now(config().save_only_model ? CheckpointContent::kModelOnly : CheckpointContent::kResumable);
  } catch (const CheckpointError& e) {
    // The run is worth more than one checkpoint: go on, the next save may find room.
    clear_progress();
    if (outputs_) spdlog::error("{}; checkpoint not saved, training goes on", e.what());
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
  clear_progress();
  const auto saved = save_checkpoint_now(CheckpointContent::kResumable);  // save_only_model would lose the run
  if (!outputs_) return kExitInterrupted;
  write_trainer_state(run_.output_dir, run_.state);
  outputs_->progress.finish();
  spdlog::warn("stopped after step {} of {}; saved {} ---> {}", run_.state.step, run_.state.total_steps, saved.string(),
               how_to_go_on(saved));
  return kExitInterrupted;
}

int TrainingLoop::finish(const StopRequest& stop) {
  if (stops_early(config(), run_.state)) {
    clear_progress();
    const std::string best = run_.state.best_step < 0 ? "finite"
                                                      : fmt::format("better than {:.4f} at step {}",
                                                                    run_.state.best_eval_loss, run_.state.best_step);
    spdlog::info("stopped early after step {}: the last {} evaluations were not {}", run_.state.step,
                 run_.state.evaluations_since_best, best);
  }
  check_weights(run_);
  show_phase("save");
  if (!outputs_) return kExitOk;
  const bool is_as_asked = load_best(run_);
  sync_logs();
  save_final_model(run_, stop, [&] { clear_progress(); });
  remove_superseded();
  outputs_->progress.finish();
  spdlog::info("trained {} steps on {} of {} tokens; {} in {}", run_.state.step, run_.state.tokens_trained,
               run_.state.tokens_seen, run_.model.lora() ? "adapter" : "model (bfloat16)", run_.output_dir.string());
  return is_as_asked ? kExitOk : kExitCheckpoint;
}

int TrainingLoop::drive() {
  const StopRequest stop(/*notices=*/run_.communicator->is_first());
  if (config().eval_on_start && run_.state.step == 0) evaluate_now();
  if (run_.state.step > 0) evaluate_if_due();  // a run that was stopped left it to this one
  while (run_.state.step < run_.state.total_steps && !stops_early(config(), run_.state)) {
    step();
    bool stops = someone_stops(stop);
    if (!stops) {
      evaluate_if_due();
      stops = someone_stops(stop);
    }
    if (stops) return stop_early();
    save_if_due();
  }
  return finish(stop);
}

/// Ranks of one host share its cores, unless the user has said how many threads each may have. A launcher may have
/// bound this rank to some cores: then those are its share. mpirun binds to a single one where it starts one or two
/// ranks.
void share_cores(const Launch& launch) {
  if (launch.local_world_size == 1 || std::getenv("OMP_NUM_THREADS") != nullptr) return;
  const int all = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)), share = std::max(1, all / launch.local_world_size);
  cpu_set_t allowed;
  const bool known = ::sched_getaffinity(0, sizeof allowed, &allowed) == 0;
  const int own = known ? CPU_COUNT(&allowed) : all;
  if (own >= all) return at::set_num_threads(share);
  at::set_num_threads(own);
  if (own < share) {
    spdlog::warn(
        "the launcher binds each rank to {} of this host's {} cores, less than its share of {} ---> mpirun "
        "--bind-to none",
        own, all, share);
  }
}

/// The console is rank 0's; the others' errors show all the same.
void keep_console_for_first(const Launch& launch) {
  if (launch.rank == 0) return;
  for (const auto& sink : spdlog::default_logger()->sinks()) sink->set_level(spdlog::level::err);
}

int train(const LoadedConfig& loaded, const std::shared_ptr<RunLog>& log,
          const std::shared_ptr<Communicator>& communicator, at::Device device, int ranks_here) {
  TrainingRun run = set_up_training(loaded, log, communicator, device, ranks_here);
  const int exit_code = run.is_finished ? kExitOk : TrainingLoop(run).drive();
  communicator->finish();
  return exit_code;
}

}  // namespace

int run_training(const LoadedConfig& loaded) {
  const TrainConfig& c = loaded.config;
  const Launch launch = detect_launch([](const char* name) -> const char* { return std::getenv(name); });
  keep_console_for_first(launch);
  const auto log = start_run_log();
  log_notes(loaded);
  share_cores(launch);
  if (c.full_determinism) use_deterministic_kernels();
  const at::Device device =
      choose_device(c.use_cpu ? DeviceChoice::kCpuOnly : DeviceChoice::kGpuIfAny, launch.local_rank);
  const auto communicator = std::make_shared<Communicator>(
      launch, CommunicatorOptions{.timeout = std::chrono::seconds(c.ddp_timeout), .device = device});
  try {
    return train(loaded, log, communicator, device, launch.local_world_size);
  } catch (const Error& e) {
    if (communicator->world_size() == 1) throw;
    communicator->report_failure(e.what(), e.exit_code());
    throw Error("", e.exit_code());  // it has been said
  } catch (const std::exception& e) {
    if (communicator->world_size() == 1) throw;
    const std::string message = e.what();
    communicator->report_failure(message.substr(0, message.find('\n')),
                                 kExitError);  // LibTorch's have a stack trace behind it
    throw Error("");
  }
}

}  // namespace qtune
