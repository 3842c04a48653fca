// What a run's folder says about the run, read back from its files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qtune/config/load_config.h"
#include "qtune/metrics/step_metrics.h"
#include "qtune/prune/scores.h"

namespace qtune {

/// One sample in one step: a line of decisions.jsonl.
struct Judgement {
  int64_t step = 0;
  uint32_t sample = 0;                 // index in RunData::sample_ids
  double perplexity = 0, entropy = 0;  // NaN: not scored
  Quadrant quadrant = Quadrant::kMiddle;
  bool kept = false, supplement = false;
  std::vector<int32_t> kept_tokens;  // ascending indices into T(x); empty unless kept
};

struct RunData {
  std::string name;  // the folder's
  std::filesystem::path folder;
  std::optional<LoadedConfig> config;  // none: config.yaml is missing or of another version
  int64_t total_steps = 0;             // that were planned; 0: not known
  std::vector<StepMetrics> steps;
  std::vector<EvalMetrics> evaluations;
  std::vector<std::string> sample_ids;  // sorted
  std::vector<Judgement> judgements;    // in the order of the log: by step
  std::vector<std::string> notes;       // what is missing, for the reader of the report
};

/// Reads config.yaml, metrics.jsonl, decisions.jsonl and its later parts, and trainer_state.json. Only metrics.jsonl
/// must be there. A torn last line, left by a killed run, is passed over.
/// Throws: ConfigError when the folder holds no run; DataError with file:line for a damaged line.
RunData read_run(const std::filesystem::path& folder);

/// The thresholds of the samples judged in one step, from the alpha that the metrics hold. nullopt: a method without
/// thresholds, scope micro (each micro-batch had its own), or samples without scores.
std::optional<Thresholds> thresholds_of_step(std::span<const Judgement> judged, std::optional<double> alpha);

}  // namespace qtune
