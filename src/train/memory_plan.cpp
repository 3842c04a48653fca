#include "memory_plan.h"

#include <algorithm>

#include "qtune/base/file.h"
#include "qtune/base/log.h"
#include "qtune/ops/device.h"
#include "qtune/train/config_options.h"

namespace qtune {

TrainingShape training_shape(const TrainConfig& config, const TrainingPlan& plan) {
  const ModelOptions options = model_options(config);
  TrainingShape shape{.compute_dtype = options.compute_dtype,
                      .gradient_checkpointing = config.gradient_checkpointing.value_or(false),
                      .num_shards = config.zero_stage == 1 ? plan.world_size : 1};
  if (options.adapter) {
    shape.lora = config.adapter_name_or_path ? check_lora_files(*config.adapter_name_or_path, plan.model)
                                             : options.adapter->config;
  }
  const auto micro_batch = static_cast<size_t>(config.per_device_train_batch_size);
  StepSampler sampler(plan.epochs);
  const int64_t steps = std::min(plan.total_steps, plan.epochs.steps_per_epoch());
  while (sampler.steps_done() < steps) {
    const std::vector<int64_t> indices = sampler.next();
    for (size_t first = 0; first < indices.size(); first += micro_batch) {
      int64_t num_tokens = 0, num_targets = 0;
      for (size_t i = first; i < std::min(indices.size(), first + micro_batch); ++i) {
        num_tokens += plan.samples.num_tokens(static_cast<size_t>(indices[i]));
        num_targets += plan.samples.num_trainable_tokens(static_cast<size_t>(indices[i]));
      }
      shape.num_tokens = std::max(shape.num_tokens, num_tokens);
      shape.num_targets = std::max(shape.num_targets, num_targets);
    }
  }
  const auto eval_batch = static_cast<size_t>(config.per_device_eval_batch_size);
  for (size_t first = 0; first < plan.eval_samples.size(); first += eval_batch) {
    int64_t num_tokens = 0, num_targets = 0;
    for (size_t i = first; i < std::min(plan.eval_samples.size(), first + eval_batch); ++i) {
      num_tokens += plan.eval_samples.num_tokens(i);
      num_targets += plan.eval_samples.num_trainable_tokens(i);
    }
    shape.num_eval_tokens = std::max(shape.num_eval_tokens, num_tokens);
    shape.num_eval_targets = std::max(shape.num_eval_targets, num_targets);
  }
  return shape;
}

bool needs_gradient_checkpointing(const ModelConfig& model, const TrainingShape& shape, int64_t available_bytes) {
  return estimate_training_memory(model, shape).total() > available_bytes / 10 * 9;
}

namespace {

/// Weights of the models that tokens are compared with, which lie beside the one in training.
int64_t bytes_of_compared_models(const TrainConfig& config) {
  const TokenPruning& token = config.pruning.token;
  std::vector<std::string> folders;
  if (token.method == "rho1" || token.method == "tokencleaning") folders.push_back(token.reference_model.value());
  if (token.method == "tokencleaning") folders.push_back(token.base_model.value_or(config.model_name_or_path));
  int64_t bytes = 0;
  for (const std::string& folder : folders) bytes += read_model_config(folder).num_parameters() * (config.bf16 ? 2 : 4);
  return bytes;
}

}  // namespace

TrainingShape decided_shape(const TrainConfig& config, const TrainingPlan& plan, at::Device device) {
  TrainingShape shape = training_shape(config, plan);
  shape.on_gpu = device.is_cuda();
  const int64_t available = available_memory_bytes(device) - bytes_of_compared_models(config);
  if (config.gradient_checkpointing || !needs_gradient_checkpointing(plan.model, shape, available)) return shape;
  spdlog::info("gradient_checkpointing: on, since training would take about {} of the {} that are free",
               format_bytes(static_cast<uint64_t>(estimate_training_memory(plan.model, shape).total())),
               format_bytes(static_cast<uint64_t>(available)));
  shape.gradient_checkpointing = true;
  return shape;
}

}  // namespace qtune
