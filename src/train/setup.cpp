#include <fmt/format.h>

#include "best_model.h"
#include "checks_before_weights.h"
#include "data_parallel.h"
#include "disk_plan.h"
#include "memory_plan.h"
#include "output_dir.h"
#include "plan.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/hash.h"
#include "qtune/base/log.h"
#include "qtune/checkpoint/final_model.h"
#include "qtune/config/print_config.h"
#include "qtune/train/config_options.h"
#include "run.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// A run goes on only with the same data, order and batch; other keys may change, and are named.
void check_resumable(const TrainerState& now, const TrainerState& then, const fs::path& checkpoint) {
  const auto check = [&](const char* what, auto expected, auto found) {
    if (expected == found) return;
    throw CheckpointError(
        fmt::format("{}: {}: the checkpoint has {}, this run {} ---> use the run's own config and "
                    "data, or set overwrite_output_dir: true to start anew",
                    checkpoint.string(), what, expected, found));
  };
  check("seed", then.seed, now.seed);
  check("number of samples", then.num_samples, now.num_samples);
  check("samples of a step", then.samples_per_step, now.samples_per_step);
  check("hash of the tokenized data", hex64(then.data_hash), hex64(now.data_hash));
}

void warn_of_changed_keys(const TrainConfig& config, const fs::path& checkpoint) {
  const LoadedConfig then = load_train_config(checkpoint / "config.yaml");
  for (const std::string& key : differing_training_keys(then.config, config)) {
    spdlog::warn("{}: {} differs from the run that wrote this checkpoint", checkpoint.string(), key);
  }
}

void resume(TrainingRun& run) {
  const TrainerState fresh = run.state;
  run.state = read_trainer_state(*run.resumed_from);
  check_resumable(fresh, run.state, *run.resumed_from);
  warn_of_changed_keys(run.config(), *run.resumed_from);
  run.state.total_steps = fresh.total_steps;
  if (run.state.eval_hash != fresh.eval_hash) {
    if (run.state.best_step >= 0) {
      spdlog::warn(
          "the held-out samples are others than those of step {}, the best so far: the best is looked for anew",
          run.state.best_step);
    }
    run.state.eval_hash = fresh.eval_hash;
    run.state.best_step = -1;
    run.state.evaluations_since_best = 0;
  }
  if (run.state.world_size != fresh.world_size) {
    spdlog::info("{} ranks instead of {}; a step has {} samples as before", fresh.world_size, run.state.world_size,
                 fresh.samples_per_step);
  }
  load_checkpoint(*run.resumed_from, run.model, *run.optimizer);
  run.optimizer->set_num_updates(run.state.num_updates);
  if (!is_own_checkpoint(*run.resumed_from, run.output_dir)) {
    run.state.metrics_bytes = run.state.decisions_bytes = run.state.decisions_file = 0;  // another folder's logs
  }
}

bool ends_here(const TrainingRun& run) {
  return run.state.step >= run.state.total_steps || stops_early(run.config(), run.state);
}

/// A checkpoint of this folder that the user named begins a branch, which the run then goes on with by itself.
bool begins_branch(const TrainingRun& run) {
  const std::string wish = run.config().resume_from_checkpoint.value_or("");
  return run.resumed_from && !wish.empty() && wish != "true" && is_own_checkpoint(*run.resumed_from, run.output_dir);
}

/// Nothing to train, and no final model to write: it is there, or it would take the place of a longer run's.
bool is_finished(const TrainingRun& run) {
  if (!run.resumed_from || !ends_here(run) || !is_own_checkpoint(*run.resumed_from, run.output_dir)) return false;
  return final_model_step(run.output_dir) >= run.state.step ||
         (begins_branch(run) && !list_own_checkpoints(run.output_dir, run.state.step).empty());
}

void say_finished(const TrainingRun& run) {
  const bool early = run.state.step < run.state.total_steps;
  spdlog::info(
      "{}: the run is finished at step {} of {}: nothing is trained or written ---> raise {} to go on, or set "
      "overwrite_output_dir: true to start anew",
      run.resumed_from->string(), run.state.step, run.state.total_steps,
      early ? "early_stopping_steps" : "max_steps or num_train_epochs");
}

void describe(const TrainingRun& run) {
  const TrainConfig& c = run.config();
  const std::string from = run.resumed_from ? run.resumed_from->string() : "";
  if (run.resumed_from && ends_here(run)) {
    spdlog::info("resuming from {}: {} steps done, none left", from, run.state.step);
  } else if (run.resumed_from) {
    spdlog::info("resuming from {}: {} of {} steps done", from, run.state.step, run.state.total_steps);
  }
  const auto method = [](const std::string& name, double keep) {
    return name == "none" ? name : fmt::format("{} (keep {})", name, keep);
  };
  spdlog::info("model {}: {:.1f} M parameters, {} compute", c.model_name_or_path,
               static_cast<double>(run.model.config().num_parameters()) / 1e6, c.bf16 ? "bfloat16" : "float32");
  if (run.model.lora()) {
    spdlog::info("{}", describe_lora(*run.model.lora(), run.model.config(),
                                     run.resumed_from ? from : c.adapter_name_or_path.value_or("new")));
  }
  spdlog::info("plan: {} steps of {} samples ({} samples, {} held out); pruning: samples {}, tokens {}",
               run.state.total_steps, run.state.samples_per_step, run.samples.size(), run.eval_samples.size(),
               method(c.pruning.sample.method, c.pruning.sample.keep),
               method(c.pruning.token.method, c.pruning.token.keep));
}

/// They are removed when the branch has saved something of its own.
void set_other_branch_aside(const TrainingRun& run) {
  for (const fs::path& aside : set_later_checkpoints_aside(run.output_dir, run.state.step)) {
    spdlog::info("set aside {} until the first save, when it is removed: the run goes on from {}", aside.string(),
                 run.resumed_from->string());
  }
}

/// overwrite_output_dir: what is not an earlier run's own stays.
void remove_earlier_run(const fs::path& output_dir) {
  if (fs::exists(output_dir / "metrics.jsonl")) {
    remove_final_model(output_dir);  // it must not pass for the new run's
    for (const char* name : {"trainer_state.json", "report.html"}) fs::remove(output_dir / name);
  }
  remove_superseded_checkpoints(output_dir);
  for (const fs::path& old : list_checkpoints(output_dir)) {
    if (is_qtune_checkpoint(old)) {
      remove_checkpoint(old);
      spdlog::info("overwrite_output_dir: removed {}", old.string());
    } else {
      spdlog::warn("{}: left as it is: not a checkpoint of qtune, whose manifest.json it lacks", old.string());
    }
  }
}

/// Only when nothing can fail any more is anything of an earlier run removed.
void take_over_folder(const TrainingRun& run) {
  remove_unfinished_files(run.output_dir);
  // One of a later step is another line's: to this one's crash and restart it must not be its end.
  if (final_model_step(run.output_dir) > run.state.step) forget_final_model(run.output_dir);
  if (begins_branch(run)) set_other_branch_aside(run);
  const bool starts_logs = !run.resumed_from || !is_own_checkpoint(*run.resumed_from, run.output_dir);
  if (starts_logs && run.config().overwrite_output_dir) remove_earlier_run(run.output_dir);
  // Without a step to train these settings are not those of the run.
  const fs::path config = run.output_dir / "config.yaml";
  if (!ends_here(run) || !fs::exists(config)) write_file_atomic(config, to_yaml(run.config()));
}

/// train.log, and train-rank1.log and so on beside it.
void open_log(const TrainingRun& run) {
  const int rank = run.communicator->rank();
  run.log->open(run.output_dir / (rank == 0 ? std::string("train.log") : fmt::format("train-rank{}.log", rank)));
}

/// What rank 0 has found, on all ranks.
std::optional<fs::path> path_of_first(Communicator& communicator, const std::optional<fs::path>& path) {
  if (communicator.world_size() == 1) return path;
  const std::string found = communicator.gather_bytes(path ? path->string() : "").front();
  return found.empty() ? std::nullopt : std::optional<fs::path>(found);
}

/// What rank 0 has seen, on all ranks.
bool first_says(Communicator& communicator, bool own) {
  return communicator.world_size() == 1 ? own : communicator.gather_bytes(own ? "yes" : "no").front() == "yes";
}

/// Ranks that read other files would drift apart without a word.
void check_ranks_agree(const TrainingRun& run) {
  Communicator& communicator = *run.communicator;
  const std::string config = to_yaml(run.config());
  const std::string data =
      fmt::format("{} samples with hash {}, {} held out with hash {}", run.samples.size(), hex64(run.state.data_hash),
                  run.eval_samples.size(), hex64(run.eval_samples.hash()));
  const std::string model = fmt::format("{} parameters", run.model.config().num_parameters());
  const std::string state = fmt::format("step {}", run.state.step);
  for (const auto& [what, own] : {std::pair{"config", config}, std::pair{"data", data}, std::pair{"model", model},
                                  std::pair{"checkpoint", state}}) {
    const std::vector<std::string> texts = communicator.gather_bytes(own);
    for (size_t rank = 1; rank < texts.size(); ++rank) {
      if (texts[rank] == texts[0]) continue;
      const bool short_text = texts[0].size() < 200;
      throw ConfigError(fmt::format("{}: rank {} has another than rank 0{} ---> all ranks need the same files", what,
                                    rank, short_text ? fmt::format(": {}, not {}", texts[rank], texts[0]) : ""));
    }
  }
}

}  // namespace

TrainingRun set_up_training(const LoadedConfig& loaded, std::shared_ptr<RunLog> log,
                            std::shared_ptr<Communicator> communicator, at::Device device, int ranks_here) {
  const TrainConfig& c = loaded.config;
  Pruner pruner = make_pruner(pruner_options(c));  // its faults before anything is read
  communicator->set_phase("setup");
  std::unique_ptr<OutputDir> folder;
  std::optional<fs::path> checkpoint;
  if (communicator->is_first()) {
    folder = std::make_unique<OutputDir>(c);
    checkpoint = find_checkpoint(c);
  }
  checkpoint = path_of_first(*communicator, checkpoint);
  const int world_size = communicator->world_size();
  TrainingPlan plan = plan_training(loaded, world_size, checkpoint);
  check_before_weights(c, pruner, plan, device);
  ModelOptions options = model_options(c);
  options.device = device;
  const Shard shard = c.zero_stage == 1 ? Shard{.rank = communicator->rank(), .count = world_size} : Shard{};
  options.master_shard = shard;
  const TrainingShape shape = decided_shape(c, pruner, plan, options.device, ranks_here);
  options.gradient_checkpointing = shape.gradient_checkpointing;
  if (communicator->is_first()) check_disk_space(c, plan, shape, checkpoint);

  TrainingRun run{.loaded = loaded,
                  .folder = std::move(folder),
                  .log = std::move(log),
                  .output_dir = c.output_dir,
                  .samples = std::move(plan.samples),
                  .eval_samples = std::move(plan.eval_samples),
                  .model = Model::load(c.model_name_or_path, options),
                  .pruner = std::move(pruner),
                  .compared = {},
                  .communicator = std::move(communicator),
                  .resumed_from = checkpoint,
                  .token_mode = c.pruning.token.mode == "drop" ? TokenMode::kDrop : TokenMode::kMask};
  run.compared = load_compared_models(c, run.pruner, run.model);
  run.optimizer = std::make_unique<Optimizer>(
      run.model,
      AdamWOptions{
          .beta1 = c.adam_beta1, .beta2 = c.adam_beta2, .epsilon = c.adam_epsilon, .weight_decay = c.weight_decay},
      shard);
  run.state.seed = c.seed;
  run.state.num_samples = plan.epochs.num_samples;
  run.state.samples_per_step = plan.epochs.samples_per_step;
  run.state.data_hash = run.samples.hash();
  run.state.eval_hash = run.eval_samples.hash();
  run.state.total_steps = plan.total_steps;
  run.state.world_size = world_size;
  run.schedule = plan.schedule;
  if (run.resumed_from) resume(run);
  run.sampler = std::make_unique<StepSampler>(plan.epochs, run.state.step);
  check_ranks_agree(run);
  check_equal_weights(*run.communicator, run.model);
  run.is_finished = first_says(*run.communicator, is_finished(run));
  if (run.is_finished) {
    say_finished(run);
    return run;
  }
  describe(run);
  if (run.communicator->is_first()) take_over_folder(run);
  open_log(run);
  return run;
}

}  // namespace qtune
