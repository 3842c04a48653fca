// The three things that `qtune inspect` looks at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace qtune {

enum class SampleForm { kText, kJsonLines };

enum class ColourUse {
  kAuto,    // on a terminal, unless NO_COLOR is set
  kAlways,  // and the columns of a terminal, wherever the output goes
  kNever
};

struct InspectDataOptions {
  std::string config;
  std::vector<std::string> overrides;     // key=value, in place of the file's
  std::vector<std::string> sample_names;  // shown in place of the first ones: an id, or file:line
  int64_t num_shown = -1;                 // -1: 3, or all as JSON lines
  SampleForm form = SampleForm::kText;
  ColourUse colour = ColourUse::kAuto;
  bool full = false;    // long samples are not cut
  bool tokens = false;  // each token with its id
};

/// Samples of a config as the model sees them, beside their records; statistics; warnings.
int inspect_data(const InspectDataOptions& options);

struct InspectModelOptions {
  std::string folder;
  int64_t batch_size = 8, length = 256;  // of the micro-batch whose memory is estimated: samples, tokens of each
  int64_t lora_rank = 8;
  bool json = false;
};

/// Facts of a model folder, and the memory that training it takes.
int inspect_model(const InspectModelOptions& options);

/// State of a run's folder; with step >= 1 the fates of that step's samples.
int inspect_run(const std::string& folder, int64_t step);

}  // namespace qtune
