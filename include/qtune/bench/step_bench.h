// Steps of training on made-up text: speed by phase, memory, and the share of what the device could do.
#pragma once

#include <cstdint>
#include <filesystem>

#include "qtune/bench/measure.h"
#include "qtune/model/model.h"
#include "qtune/prune/pruner.h"

namespace qtune {

struct StepBenchOptions {
  std::filesystem::path model;
  ModelOptions model_options;  // device, compute dtype, adapter, gradient checkpointing; use is set to training
  ScoreType score_type = ScoreType::kCompute;
  PrunerOptions pruner;      // methods none: every sample is trained, none scored
  int64_t num_samples = 32;  // of a step
  int64_t micro_batch = 8;
  int64_t length = 256;  // tokens of a sample, the last half of them trained
  int num_steps = 5;     // measured, after one that warms up
  uint64_t seed = 1;
};

/// Medians over the measured steps. Tokens are real ones: nothing is padded.
struct StepBenchResult {
  double step_seconds = 0, score_seconds = 0, decide_seconds = 0, train_seconds = 0, optimizer_seconds = 0;
  int64_t num_samples = 0, num_tokens = 0;                 // of a step
  int64_t kept_samples = 0, kept_tokens = 0, targets = 0;  // of the last step: after pruning
  int64_t peak_memory_bytes = 0;
  double train_flops = 0;  // of the kept samples' products and attention
  double step_flops = 0;   // of products and attention, counted from the model's sizes
  double step_bytes = 0;   // weights read by every pass, and the optimizer's traffic
  double samples_per_second() const { return static_cast<double>(num_samples) / step_seconds; }
  double tokens_per_second() const { return static_cast<double>(num_tokens) / step_seconds; }
};

/// What a device reaches, measured: FLOPs a second of a bare product, bytes a second of a copy.
struct DevicePeaks {
  double flops = 0, bytes = 0;
};
DevicePeaks measure_peaks(at::Device device, at::ScalarType compute_dtype);

/// The time that the step's FLOPs and bytes take at these rates, over the time it took.
double roofline_share(const StepBenchResult& result, const DevicePeaks& peaks);

/// peak_memory_bytes is the process's (on a GPU, its tensors'): of several benches in one process the smallest goes
/// first. Throws: CheckpointError for the model folder; ConfigError for a length beyond the model's positions.
StepBenchResult bench_step(const StepBenchOptions& options);

/// FLOPs of a forward pass over `num_tokens` tokens in samples of `length`, of which `num_targets` go through the head.
double forward_flops(const ModelConfig& config, int64_t num_tokens, int64_t length, int64_t num_targets);

}  // namespace qtune
