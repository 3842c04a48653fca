// Against values of the transformers library (tests/data/models, float32): scores, gradients, logits.
#include "qtune/model/model.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/model_fixture.h"
#include "support/model_folder.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

/// config.json as transformers 4 wrote it: rotary settings apart, torch_dtype, no head_dim where it follows.
nlohmann::json in_transformers_4_keys(nlohmann::json config) {
  nlohmann::json rope = config["rope_parameters"];
  config.erase("rope_parameters");
  config["rope_theta"] = rope["rope_theta"];
  rope.erase("rope_theta");
  config["rope_scaling"] = rope["rope_type"] == "default" ? nlohmann::json() : rope;
  config["torch_dtype"] = config["dtype"];
  config.erase("dtype");
  config.erase("layer_types");
  config["transformers_version"] = "4.51.3";
  if (config.value("head_dim", 0) * config["num_attention_heads"].get<int>() == config["hidden_size"].get<int>()) {
    config.erase("head_dim");
  }
  return config;
}

/// A fixture, or with "_transformers_4" behind its name the same one with such a config.json.
class ModelFixtureTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == name_) return;
    const auto source = std::filesystem::path(QTUNE_TEST_DATA) / "models" / name_;
    std::filesystem::copy_file(source / "model.safetensors", rewritten_ / "model.safetensors");
    write_config(rewritten_.path(), in_transformers_4_keys(fixture_config(name_)));
  }
  Model load(const ModelOptions& options = {}) const {
    return Model::load(GetParam() == name_ ? fixture.folder() : rewritten_.path(), options);
  }

 private:
  static constexpr std::string_view kSuffix = "_transformers_4";
  const std::string name_ =
      GetParam().ends_with(kSuffix) ? GetParam().substr(0, GetParam().size() - kSuffix.size()) : GetParam();
  TempDir rewritten_;

 protected:
  const ModelFixture fixture{name_};
};

TEST_P(ModelFixtureTest, ScoresEqualTransformers) {
  Model model = load();
  const RowScores scores = model.score(fixture.batch());
  EXPECT_LT((scores.nll_N - fixture.targets_of("nll")).abs().max().item<double>(), 1e-4);
  EXPECT_LT((scores.entropy_N - fixture.targets_of("entropy")).abs().max().item<double>(), 1e-4);
}

TEST_P(ModelFixtureTest, GradientsOfMeanLossEqualTransformers) {
  Model model = load({.use = ModelUse::kTraining});
  const PackedTokens batch = fixture.batch();
  model.forward_backward(batch);
  for (const Parameter& p : model.parameters()) {
    const at::Tensor expected = fixture.tensor("grad." + p.name);
    const at::Tensor found = p.gradient / batch.num_targets();
    EXPECT_LT(((found - expected).norm() / expected.norm()).item<double>(), 1e-3) << p.name;
  }
}

TEST_P(ModelFixtureTest, TrainingPassAndScorePassGiveTheSameBits) {
  Model model = load({.use = ModelUse::kTraining});
  EXPECT_TRUE(at::equal(model.score(fixture.batch()).nll_N, model.forward_backward(fixture.batch()).nll_N));
}

TEST_P(ModelFixtureTest, CachedGenerationGivesTheLogitsOfTheFullPass) {
  Model model = load();
  const at::Tensor ids = fixture.tensor("input_ids")[2], logits = fixture.tensor("logits")[2];
  std::vector<int32_t> prompt;
  for (int k = 0; k < 20; ++k) prompt.push_back(ids[k].item<int32_t>());
  KeyValueCache cache = model.make_cache();
  EXPECT_LT((model.next_token_logits(prompt, cache) - logits[19]).abs().max().item<double>(), 1e-3);
  for (int k = 20; k < 60; ++k) {
    const at::Tensor found = model.next_token_logits({ids[k].item<int32_t>()}, cache);
    EXPECT_LT((found - logits[k]).abs().max().item<double>(), 1e-3) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ModelFixtureTest, kFixtureModels, [](const auto& family) { return family.param; });
INSTANTIATE_TEST_SUITE_P(OldKeys, ModelFixtureTest,
                         testing::Values("llama_tied_transformers_4", "llama_untied_transformers_4",
                                         "llama3_rope_transformers_4", "mistral_window_transformers_4",
                                         "qwen2_bias_transformers_4", "qwen3_qknorm_transformers_4"),
                         [](const auto& family) { return family.param; });

}  // namespace
}  // namespace qtune
