// Training checkpoints: all that a run needs to go on bit for bit.
//
// output_dir/checkpoint-N/ holds a model folder that transformers loads (weights in float32, the masters themselves;
// with LoRA the adapter alone, as PEFT loads it),
// optimizer.safetensors (exp_avg.NAME, exp_avg_sq.NAME; with zero_stage: 1 a file for each rank,
// optimizer-00001-of-00004.safetensors, with slices: exp_avg.NAME@BEGIN, and in
// bfloat16 master.NAME@BEGIN: the weights' file then has the masters rounded), config.yaml (the run's effective
// config), trainer_state.json, and manifest.json with the size and XXH3 checksum of every file. It is written as
// checkpoint-N.tmp, synced, renamed: a folder named checkpoint-N was whole once, and its manifest tells whether it
// still is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "qtune/model/model.h"
#include "qtune/optim/optimizer.h"

namespace qtune {

struct TrainerState {
  int64_t step = 0;  // optimizer steps done; also the cursor of the data order
  double epoch = 0;
  int64_t total_steps = 0;
  int64_t num_updates = 0;  // of the optimizer: less than `step` where steps kept nothing or were skipped
  int64_t tokens_seen = 0, tokens_scored = 0, tokens_trained = 0;
  int64_t metrics_bytes = 0;    // length of metrics.jsonl
  int64_t decisions_bytes = 0;  // length of the newest decisions.jsonl
  int64_t decisions_file = 0;   // files it was rotated into before
  int64_t last_eval_step = -1;  // not evaluated again after a resume
  int64_t best_step = -1;       // of the evaluation with the lowest loss; -1: none yet
  double best_eval_loss = 0;
  int64_t evaluations_since_best = 0;
  int64_t seed = 0, num_samples = 0, samples_per_step = 0;
  int64_t world_size = 1;  // ranks that samples_per_step was planned for; other numbers of them may have gone on since
  uint64_t data_hash = 0;  // of the tokenized samples: a resume on other data is refused
  uint64_t eval_hash = 0;  // of the held-out ones: losses on others are not compared with
};

enum class CheckpointContent { kResumable, kModelOnly };

/// Bytes of a checkpoint, those of all ranks together: `num_trained` weights in float32, both moments, and the masters
/// where ranks hold slices of them (`sliced_masters`: the weights' file has them rounded).
uint64_t checkpoint_bytes(int64_t num_trained, CheckpointContent content, bool sliced_masters);

struct CheckpointSource {
  std::filesystem::path model_folder;  // where config.json and the tokenizer come from
  std::string config_yaml;
  CheckpointContent content = CheckpointContent::kResumable;  // kModelOnly: no optimizer state (save_only_model)
};

/// Writes output_dir/checkpoint-STEP and returns its path. An existing one of that name is replaced; a folder of that
/// name which is not qtune's is renamed, with a warning.
/// Throws: CheckpointError naming the file and the reason; nothing half-written is left under the final name.
std::filesystem::path save_checkpoint(const std::filesystem::path& output_dir, Model& model, Optimizer& optimizer,
                                      const TrainerState& state, const CheckpointSource& source);

/// The same by several ranks, each with a shard of the optimizer: all call it, rank 0 writes everything but the other
/// shards. `agree` gathers a text of every rank, in rank order, as Communicator::gather_bytes.
/// Throws: CheckpointError on every rank alike when one of them could not write.
std::filesystem::path save_sharded_checkpoint(const std::filesystem::path& output_dir, Model& model,
                                              Optimizer& optimizer, const TrainerState& state,
                                              const CheckpointSource& source,
                                              const std::function<std::vector<std::string>(const std::string&)>& agree);

/// Why a checkpoint folder can't be used ("manifest.json is missing", "model.safetensors: checksum differs", ...), or
/// nullopt when it is whole. Reads every byte.
std::optional<std::string> fault_of_checkpoint(const std::filesystem::path& checkpoint);

/// The checkpoint-N folders in output_dir with more than `after_step` steps, most first, whole or not.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& output_dir, int64_t after_step = -1);

/// Whether qtune wrote this checkpoint: its manifest is there and lists a trainer's state. Its files may be damaged.
bool is_qtune_checkpoint(const std::filesystem::path& checkpoint);

/// Those of list_checkpoints that qtune wrote: the only ones that a run may remove.
std::vector<std::filesystem::path> list_own_checkpoints(const std::filesystem::path& output_dir,
                                                        int64_t after_step = -1);

/// Removes a checkpoint that qtune wrote. Killed in between it leaves what remove_unfinished_files removes.
/// Throws: std::filesystem::filesystem_error.
void remove_checkpoint(const std::filesystem::path& checkpoint);

/// Renames qtune's checkpoints with more than `step` steps to checkpoint-N.superseded, where resuming does not look:
/// a run is going to do these steps again. The lowest first: cut short, the newest one is still there. Returns the new
/// names, lowest step first.
std::vector<std::filesystem::path> set_later_checkpoints_aside(const std::filesystem::path& output_dir, int64_t step);

/// Removes what set_later_checkpoints_aside has renamed, and returns what that was.
std::vector<std::filesystem::path> remove_superseded_checkpoints(const std::filesystem::path& output_dir);

/// The whole, resumable checkpoint with the most steps in output_dir; others are passed over, each with a warning.
/// nullopt: none.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& output_dir);

/// Writes folder/trainer_state.json. Throws: Error naming the file and the reason.
void write_trainer_state(const std::filesystem::path& folder, const TrainerState& state);

/// Reads trainer_state.json alone. Throws: CheckpointError naming the file and key.
TrainerState read_trainer_state(const std::filesystem::path& checkpoint);

/// output_dir/checkpoint-STEP, there or not.
std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, int64_t step);

/// Fills masters and compute weights alone.
/// Throws: CheckpointError as load_checkpoint.
void load_weights(const std::filesystem::path& checkpoint, Model& model);

/// Fills masters, compute weights and optimizer state from a whole checkpoint; a shard of the state too, from whatever
/// shards it was written in.
/// Throws: CheckpointError naming file and tensor (missing, other shape).
void load_checkpoint(const std::filesystem::path& checkpoint, Model& model, Optimizer& optimizer);

/// Removes the oldest checkpoints until `keep` with at most `last_step` steps are left. Later ones, which a run that
/// had to pass over them finds, are not touched, nor are those that qtune did not write. That of `best_step` stays, and
/// counts; with the newest, so that up to one more than `keep` may be left. -1: none is the best.
void remove_old_checkpoints(const std::filesystem::path& output_dir, int64_t keep, int64_t last_step,
                            int64_t best_step = -1);

/// Removes what a killed run left half-written: checkpoint-N.tmp folders, and temporary files beside them but for those
/// of processes that live (`qtune score` may write into a run's folder). Before this process writes there.
void remove_unfinished_files(const std::filesystem::path& output_dir);

}  // namespace qtune
