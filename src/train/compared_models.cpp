#include "compared_models.h"

#include <fmt/format.h>

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/base/log.h"
#include "qtune/score/score_pass.h"
#include "qtune/train/config_options.h"

namespace qtune {
namespace {

bool needs(const std::vector<ScoreArray>& arrays, ScoreArray array) {
  return std::find(arrays.begin(), arrays.end(), array) != arrays.end();
}

std::unique_ptr<Model> load_for_scores(const std::string& folder, const ModelOptions& training) {
  return std::make_unique<Model>(Model::load(folder, {.compute_dtype = training.compute_dtype,
                                                      .device = training.device,
                                                      .use = ModelUse::kInference,
                                                      .ops = training.ops,
                                                      .adapter = {}}));
}

}  // namespace

std::string base_model_folder(const TrainConfig& config) {
  return config.pruning.token.base_model.value_or(config.model_name_or_path);
}

std::vector<std::string> compared_model_folders(const TrainConfig& config, const Pruner& pruner) {
  const std::vector<ScoreArray> arrays = pruner.needed_arrays();
  std::vector<std::string> folders;
  if (needs(arrays, &SampleScores::reference_nll)) folders.push_back(config.pruning.token.reference_model.value());
  if (needs(arrays, &SampleScores::base_nll)) folders.push_back(base_model_folder(config));
  return folders;
}

ComparedModels load_compared_models(const TrainConfig& config, const Pruner& pruner, const Model& model) {
  const std::vector<ScoreArray> arrays = pruner.needed_arrays();
  const TokenPruning& token = config.pruning.token;
  ComparedModels compared;
  if (needs(arrays, &SampleScores::reference_nll)) {
    compared.reference = load_for_scores(token.reference_model.value(), model.options());
    spdlog::info("reference model {}: {:.1f} M parameters", *token.reference_model,
                 static_cast<double>(compared.reference->config().num_parameters()) / 1e6);
  }
  if (needs(arrays, &SampleScores::base_nll)) {
    const std::string folder = base_model_folder(config);
    compared.base = load_for_scores(folder, model.options());
    spdlog::info("base model {}: {:.1f} M parameters", folder,
                 static_cast<double>(compared.base->config().num_parameters()) / 1e6);
  }
  return compared;
}

void add_extra_scores(Model& model, ComparedModels& compared, const TrainConfig& config,
                      const std::vector<ScoreArray>& needed, std::span<const TokenizedSample* const> samples,
                      std::span<SampleScores> scores) {
  const int64_t micro_batch = config.per_device_train_batch_size;
  const auto add_nll_of = [&](Model& other, ScoreArray array) {
    std::vector<SampleScores> found = score_pass(other, samples, micro_batch);
    for (size_t i = 0; i < scores.size(); ++i) scores[i].*array = std::move(found[i].nll);
  };
  if (needs(needed, &SampleScores::reference_nll)) add_nll_of(*compared.reference, &SampleScores::reference_nll);
  if (needs(needed, &SampleScores::base_nll)) add_nll_of(*compared.base, &SampleScores::base_nll);
  if (!needs(needed, &SampleScores::attention)) return;
  std::vector<std::vector<double>> found = attention_pass(model, samples, micro_batch, attention_scores(config));
  for (size_t i = 0; i < scores.size(); ++i) scores[i].attention = std::move(found[i]);
}

}  // namespace qtune
