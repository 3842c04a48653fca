#include "memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "compared_models.h"
#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/ops/device.h"
#include "qtune/prune/sample_baselines.h"
#include "qtune/train/config_options.h"

namespace qtune {

namespace {

/// Raises the sizes of `shape` to those of a micro-batch.
void take_largest(const SampleSet& samples, std::span<const int64_t> micro_batch, TrainingShape& shape) {
  int64_t num_tokens = 0, num_targets = 0;
  for (const int64_t i : micro_batch) {
    num_tokens += samples.num_tokens(static_cast<size_t>(i));
    num_targets += samples.num_trainable_tokens(static_cast<size_t>(i));
  }
  shape.num_tokens = std::max(shape.num_tokens, num_tokens);
  shape.num_targets = std::max(shape.num_targets, num_targets);
}

/// What `longest` leaves of a step, in its order: those meet in micro-batches of their own.
std::vector<int64_t> longest_of(const TrainConfig& config, const SampleSet& samples, std::span<const int64_t> step) {
  const size_t judged_together =
      config.pruning.scope == "micro" ? static_cast<size_t>(config.per_device_train_batch_size) : step.size();
  std::vector<int64_t> kept;
  for (size_t first = 0; first < step.size(); first += judged_together) {
    const auto group = step.subspan(first, std::min(judged_together, step.size() - first));
    std::vector<double> sizes;
    for (const int64_t i : group) {
      sizes.push_back(static_cast<double>(samples.num_trainable_tokens(static_cast<size_t>(i))));
    }
    const SampleSelection selection = keep_highest(sizes, config.pruning.sample.keep);
    for (size_t k = 0; k < group.size(); ++k) {
      if (selection.verdicts[k].kept) kept.push_back(group[k]);
    }
  }
  return kept;
}

void take_training_batches(const TrainConfig& config, const TrainingPlan& plan, TrainingShape& shape) {
  const auto micro_batch = static_cast<size_t>(config.per_device_train_batch_size);
  StepSampler sampler(plan.epochs);
  const int64_t steps = std::min(plan.total_steps, plan.epochs.steps_per_epoch());
  while (sampler.steps_done() < steps) {
    std::vector<int64_t> indices = sampler.next();
    if (config.pruning.sample.method == "longest") indices = longest_of(config, plan.samples, indices);
    for (size_t first = 0; first < indices.size(); first += micro_batch) {
      take_largest(plan.samples, std::span(indices).subspan(first, std::min(micro_batch, indices.size() - first)),
                   shape);
    }
  }
}

void take_evaluation_batches(const TrainConfig& config, const TrainingPlan& plan, TrainingShape& shape) {
  const auto eval_batch = static_cast<size_t>(config.per_device_eval_batch_size);
  std::vector<int64_t> indices(plan.eval_samples.size());
  std::iota(indices.begin(), indices.end(), 0);
  TrainingShape largest;
  for (size_t first = 0; first < indices.size(); first += eval_batch) {
    take_largest(plan.eval_samples, std::span(indices).subspan(first, std::min(eval_batch, indices.size() - first)),
                 largest);
  }
  shape.num_eval_tokens = largest.num_tokens;
  shape.num_eval_targets = largest.num_targets;
}

}  // namespace

TrainingShape training_shape(const TrainConfig& config, const Pruner& pruner, const TrainingPlan& plan) {
  const ModelOptions options = model_options(config);
  TrainingShape shape{.compute_dtype = options.compute_dtype,
                      .gradient_checkpointing = config.gradient_checkpointing.value_or(false),
                      .num_shards = config.zero_stage == 1 ? plan.world_size : 1,
                      .fp8_scores = score_type(config) == ScoreType::kFp8};
  if (options.adapter) {
    shape.lora = config.adapter_name_or_path ? check_lora_files(*config.adapter_name_or_path, plan.model)
                                             : options.adapter->config;
  }
  for (const std::string& folder : compared_model_folders(config, pruner)) {
    shape.other_parameters += read_model_config(folder).num_parameters();
  }
  take_training_batches(config, plan, shape);
  take_evaluation_batches(config, plan, shape);
  return shape;
}

bool needs_gradient_checkpointing(const ModelConfig& model, const TrainingShape& shape, int64_t available_bytes) {
  return estimate_training_memory(model, shape).total() > available_bytes / 10 * 9;
}

TrainingShape decided_shape(const TrainConfig& config, const Pruner& pruner, const TrainingPlan& plan,
                            at::Device device, int ranks_here) {
  TrainingShape shape = training_shape(config, pruner, plan);
  shape.on_gpu = device.is_cuda();
  const int64_t available = available_memory_bytes(device) / (device.is_cpu() ? ranks_here : 1);
  if (config.gradient_checkpointing || !needs_gradient_checkpointing(plan.model, shape, available)) return shape;
  spdlog::info("gradient_checkpointing: on, since training would take about {} of the {} that are free{}",
               format_bytes(static_cast<uint64_t>(estimate_training_memory(plan.model, shape).total())),
               format_bytes(static_cast<uint64_t>(available)),
               device.is_cpu() && ranks_here > 1 ? fmt::format(" for each of {} ranks here", ranks_here) : "");
  shape.gradient_checkpointing = true;
  return shape;
}

}  // namespace qtune
