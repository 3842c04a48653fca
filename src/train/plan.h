// What a run is going to do: known from its config and data, before any weight is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "qtune/batch/epoch_order.h"
#include "qtune/config/load_config.h"
#include "qtune/model/model.h"
#include "qtune/optim/schedule.h"
#include "qtune/text/load_samples.h"

namespace qtune {

struct TrainingPlan {
  ModelConfig model;
  SampleSet samples, eval_samples;
  std::shared_ptr<const Tokenizer> tokenizer;  // null when none was needed
  EpochPlan epochs;
  int64_t total_steps = 0;
  int world_size = 1;
  Schedule schedule;
};

/// A line about the adapter; `origin`: its folder, or "new".
std::string describe_lora(const LoraConfig& lora, const ModelConfig& model, const std::string& origin);

/// Reads config.json and the data; warns where too few samples are judged together.
/// Throws: as read_model_config and load_samples; ConfigError for a val_size that leaves nothing to train on and for a
/// warm-up longer than the run.
/// A step holds per_device_train_batch_size x gradient_accumulation_steps x world_size samples; in a run that goes on
/// from `checkpoint` with another number of ranks, as many as before.
TrainingPlan plan_training(const LoadedConfig& loaded, int world_size,
                           const std::optional<std::filesystem::path>& checkpoint);

}  // namespace qtune
