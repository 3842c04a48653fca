#include "disk_plan.h"

#include <fmt/format.h>

#include "output_dir.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/checkpoint/checkpoint.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

uint64_t bytes_below(const fs::path& path) {
  if (!fs::is_directory(path)) return fs::is_regular_file(path) ? fs::file_size(path) : 0;
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

/// What killed runs left half-written, and with `starts_anew` the run before.
uint64_t bytes_removed_at_start(const fs::path& output_dir, bool starts_anew) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(output_dir)) {
    const std::string name = entry.path().filename().string();
    const bool weights = starts_anew && entry.is_regular_file() && name.ends_with(".safetensors");
    if (weights || name.find(".tmp") != std::string::npos) bytes += bytes_below(entry.path());
  }
  if (!starts_anew) return bytes;
  for (const fs::path& old : list_own_checkpoints(output_dir)) bytes += bytes_below(old);
  return bytes;
}

/// bfloat16; an adapter is saved in float32.
uint64_t final_model_bytes(const ModelConfig& model, const TrainingShape& shape) {
  const int64_t bytes = shape.lora ? 4 * count_lora_parameters(model, *shape.lora) : 2 * model.num_parameters();
  return static_cast<uint64_t>(bytes);
}

uint64_t one_checkpoint_bytes(const TrainConfig& config, const ModelConfig& model, const TrainingShape& shape) {
  const int64_t trained = shape.lora ? count_lora_parameters(model, *shape.lora) : model.num_parameters();
  return checkpoint_bytes(trained,
                          config.save_only_model ? CheckpointContent::kModelOnly : CheckpointContent::kResumable,
                          /*sliced_masters=*/shape.num_shards > 1 && config.bf16 && !shape.lora);
}

}  // namespace

void check_disk_space(const TrainConfig& c, const TrainingPlan& plan, const TrainingShape& shape,
                      const std::optional<fs::path>& checkpoint) {
  if (checkpoint && read_trainer_state(*checkpoint).step >= plan.total_steps) return;
  const fs::path output_dir = c.output_dir;
  std::error_code failed;
  const fs::space_info space = fs::space(output_dir, failed);
  if (failed) return;  // a file system that does not tell
  const bool starts_anew = c.overwrite_output_dir && !(checkpoint && is_own_checkpoint(*checkpoint, output_dir));
  const uint64_t there = space.available + bytes_removed_at_start(output_dir, starts_anew);
  const uint64_t model = final_model_bytes(plan.model, shape);
  const std::string what = shape.lora ? "adapter" : "final model";
  if (there < model) {
    throw CheckpointError(
        fmt::format("output_dir: {}: the {} needs {}, the disk has {} left ---> free some space, or "
                    "give an output_dir on another disk",
                    c.output_dir, what, format_bytes(model), format_bytes(there)));
  }
  const uint64_t saved = c.save_strategy == "no" ? 0 : one_checkpoint_bytes(c, plan.model, shape);
  if (there >= model + saved) return;
  spdlog::warn(
      "output_dir: {}: a checkpoint needs {} and the {} {}, the disk has {} left: checkpoints may not be saved ---> "
      "free some space",
      c.output_dir, format_bytes(saved), what, format_bytes(model), format_bytes(there));
}

}  // namespace qtune
