#include "checks_before_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "compared_models.h"
#include "qtune/base/error.h"
#include "qtune/model/model.h"
#include "qtune/ops/fp8.h"
#include "qtune/train/config_options.h"

namespace qtune {
namespace {

/// A sample that can't be judged is found now, not in the middle of training.
void check_samples(const Pruner& pruner, const SampleSet& samples) {
  for (size_t i = 0; i < samples.size(); ++i) {
    const SampleId id = samples[i].id;
    pruner.check_sample(id.name(), id.place());
  }
}

void check_fp8(at::Device device, const ModelConfig& m) {
  if (!has_fp8(device)) {
    throw ConfigError(fmt::format(
        "pruning.score_dtype: fp8: expected a GPU of compute capability 8.9 or newer, found {} ---> remove the key",
        device.is_cpu() ? "none" : "an older one"));
  }
  check_fp8_sizes("pruning.score_dtype: fp8", m);
}

void check_layer(const TrainConfig& config, const ModelConfig& model) {
  const int64_t layer = config.pruning.token.layer;
  if (layer <= model.num_layers) return;
  throw ConfigError(fmt::format("pruning.token.layer: expected one of the model's {} layers, found {} ---> 2 is usual",
                                model.num_layers, layer));
}

}  // namespace

void check_before_weights(const TrainConfig& c, const Pruner& pruner, const TrainingPlan& plan, at::Device device) {
  check_weight_files(c.model_name_or_path, plan.model);
  for (const std::string& folder : compared_model_folders(c, pruner)) {
    const ModelConfig other = read_model_config(folder);
    if (other.vocab_size < plan.model.vocab_size) {
      throw ConfigError(fmt::format(
          "{}: expected a model of the same tokenizer to compare tokens with, found a vocabulary of {}, and {} "
          "in {} ---> name another in pruning.token",
          folder, other.vocab_size, plan.model.vocab_size, c.model_name_or_path));
    }
    check_weight_files(folder, other);
  }
  if (c.pruning.sample.method == "score_file") check_samples(pruner, plan.samples);
  const std::vector<ScoreArray> arrays = pruner.needed_arrays();
  if (std::find(arrays.begin(), arrays.end(), &SampleScores::attention) != arrays.end()) check_layer(c, plan.model);
  if (score_type(c) == ScoreType::kFp8) check_fp8(device, plan.model);
}

}  // namespace qtune
