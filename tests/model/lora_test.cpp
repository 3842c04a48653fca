// Adapters against values of the PEFT library (tests/data/models), the fused model against its twin, and dropout.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "qtune/formats/convert.h"
#include "qtune/model/reference.h"
#include "qtune/model/save_model.h"
#include "qtune/ops/adamw.h"
#include "support/model_fixture.h"
#include "support/model_folder.h"
#include "support/temp_dir.h"
#include "support/tolerance.h"

namespace qtune {
namespace {

/// A new adapter whose B is not zero, so that every part of it counts.
Model adapted_model(const ModelFixture& fixture, const LoraConfig& lora, at::ScalarType dtype = at::kFloat) {
  Model model = Model::load(fixture.folder(), {.compute_dtype = dtype,
                                               .use = ModelUse::kTraining,
                                               .adapter = AdapterOptions{.folder = {}, .config = lora, .seed = 5}});
  at::manual_seed(7);
  for (Parameter& p : model.parameters()) {
    if (p.name.ends_with("lora_B.weight")) p.master.normal_(0, 0.05);
  }
  model.refresh_compute_weights();
  return model;
}

LoraConfig lora_on(const std::vector<std::string>& targets, double dropout = 0) {
  return {.rank = 4, .alpha = 6, .dropout = dropout, .targets = lora_targets(targets)};
}

std::vector<at::Tensor> gradients_of(Model& model) {
  std::vector<at::Tensor> gradients;
  for (const Parameter& p : model.parameters()) gradients.push_back(p.gradient.clone());
  return gradients;
}

class LoraTest : public testing::TestWithParam<std::string> {
 protected:
  Model load(const char* adapter, const ModelOptions& options = {}) const {
    ModelOptions with = options;
    with.adapter = AdapterOptions{.folder = fixture_.folder() / adapter};
    return Model::load(fixture_.folder(), with);
  }

  void expect_fused_equals_twin(Model& model, double nats, double gradient_norm) {
    const PackedTokens batch = fixture_.batch();
    const RowScores expected = forward_backward_reference(model, batch);
    const std::vector<at::Tensor> gradients = gradients_of(model);
    model.zero_gradients();
    const RowScores found = model.forward_backward(batch);
    EXPECT_LT((found.nll_N - expected.nll_N).abs().max().item<double>(), nats);
    for (size_t i = 0; i < gradients.size(); ++i) {
      EXPECT_GT(gradients[i].norm().item<double>(), 0) << model.parameters()[i].name;
      EXPECT_LT(relative_norm(model.parameters()[i].gradient, gradients[i]), gradient_norm)
          << model.parameters()[i].name;
    }
  }

  ModelFixture fixture_{GetParam()};
};

TEST_P(LoraTest, SixStepsGiveTheLossesAndTheAdapterOfPeft) {
  Model model = load("adapter_init", {.use = ModelUse::kTraining});
  const PackedTokens batch = fixture_.batch();
  const at::Tensor losses = fixture_.tensor("lora_losses");
  const double count = static_cast<double>(batch.num_targets());
  std::vector<AdamWTensor> tensors;
  for (const Parameter& p : model.parameters()) {
    tensors.push_back({.value = p.master,
                       .gradient = p.gradient,
                       .exp_avg = at::zeros_like(p.master),
                       .exp_avg_sq = at::zeros_like(p.master)});
  }
  for (int64_t step = 0; step < 6; ++step) {
    model.zero_gradients();
    const double loss = model.forward_backward(batch).nll_N.sum().item<double>() / count;
    EXPECT_NEAR(loss, losses[step].item<double>(), 5e-5 * loss) << step;
    adamw(tensors, {.learning_rate = 1e-2,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .epsilon = 1e-8,
                    .gradient_scale = 1 / count,
                    .step = step + 1});
  }
  Model trained = load("adapter_trained");
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_LT(relative_norm(model.parameters()[i].master, trained.parameters()[i].compute), 1e-3)
        << model.parameters()[i].name;
  }
}

TEST_P(LoraTest, FusedModelEqualsTheTwin) {
  Model model = adapted_model(fixture_, lora_on({"all"}));
  expect_fused_equals_twin(model, kModelScoreNats, kModelGradientNorm);
}

TEST_P(LoraTest, FusedModelEqualsTheTwinInBFloat16) {
  Model model = adapted_model(fixture_, lora_on({"all"}), at::kBFloat16);
  expect_fused_equals_twin(model, kModelBFloat16ScoreNats, kModelBFloat16GradientNorm);
}

TEST_P(LoraTest, FusedModelEqualsTheTwinWithDropout) {
  Model model = adapted_model(fixture_, lora_on({"all"}, 0.3));
  expect_fused_equals_twin(model, kModelScoreNats, kModelGradientNorm);
}

TEST_P(LoraTest, FusedModelEqualsTheTwinWithSomeTargets) {
  Model model = adapted_model(fixture_, lora_on({"v_proj", "up_proj", "q_proj"}, 0.1));
  EXPECT_EQ(model.parameters().size(), 3U * 3 * 2);
  expect_fused_equals_twin(model, kModelScoreNats, kModelGradientNorm);
}

TEST_P(LoraTest, ScorePassAndCachedGenerationSeeTheAdapter) {
  Model model = load("adapter_trained"), plain = Model::load(fixture_.folder(), {});
  const at::Tensor twin = score_reference(model, fixture_.batch()).nll_N;
  EXPECT_LT((model.score(fixture_.batch()).nll_N - twin).abs().max().item<double>(), kModelScoreNats);
  EXPECT_GT((plain.score(fixture_.batch()).nll_N - twin).abs().max().item<double>(), 0.1);
  KeyValueCache cache = model.make_cache();
  const PackedTokens batch = fixture_.batch();
  const int32_t* ids = batch.ids_N.data_ptr<int32_t>();
  const int64_t length = batch.cu_seqlens[1], row = batch.rows_M[0].item<int64_t>();
  ASSERT_LT(row, length);
  const at::Tensor logits = model.next_token_logits({ids, ids + row + 1}, cache);
  const double nll = -at::log_softmax(logits, 0)[batch.targets_M[0].item<int64_t>()].item<double>();
  EXPECT_NEAR(nll, twin[0].item<double>(), 1e-4);
}

TEST_P(LoraTest, MergedModelScoresAsTheAdaptedOne) {
  const TempDir target;
  const ConvertSummary summary =
      convert_to_hf(fixture_.folder(), target / "merged", {.adapter = fixture_.folder() / "adapter_trained"});
  EXPECT_EQ(summary.num_merged, 3 * 7);
  Model merged = Model::load(target / "merged", {}), adapted = load("adapter_trained");
  const RowScores a = merged.score(fixture_.batch()), b = adapted.score(fixture_.batch());
  EXPECT_LT((a.nll_N - b.nll_N).abs().max().item<double>(), 1e-4);
  EXPECT_LT((a.entropy_N - b.entropy_N).abs().max().item<double>(), 1e-4);
}

TEST_P(LoraTest, SavedAdapterComesBackBitForBit) {
  const TempDir target;
  LoraConfig lora = lora_on({"q_proj", "down_proj"}, 0.25);
  lora.rslora = true;
  Model model = adapted_model(fixture_, lora);
  save_adapter(model, fixture_.folder(), target.path());
  Model again = Model::load(fixture_.folder(), {.adapter = AdapterOptions{.folder = target.path()}});
  EXPECT_EQ(again.lora()->scale(), 3.0);
  EXPECT_EQ(again.lora()->dropout, 0.25);
  EXPECT_EQ(again.lora()->targets, lora.targets);
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    EXPECT_EQ(again.parameters()[i].name, model.parameters()[i].name);
    EXPECT_TRUE(at::equal(again.parameters()[i].compute, model.parameters()[i].master));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, LoraTest, kFixtureModels, [](const auto& family) { return family.param; });

const ModelFixture& small() {
  static const ModelFixture fixture("llama_tied");
  return fixture;
}

TEST(Lora, FreezesTheModelAndKeepsItOnceInTheComputeType) {
  Model model = adapted_model(small(), lora_on({"all"}), at::kBFloat16);
  for (const Parameter& p : model.base_parameters()) {
    EXPECT_FALSE(p.master.defined()) << p.name;
    EXPECT_FALSE(p.gradient.defined()) << p.name;
    EXPECT_EQ(p.compute.scalar_type(), p.compute.dim() == 2 ? at::kBFloat16 : at::kFloat) << p.name;
  }
  int64_t values = 0;
  for (const Parameter& p : model.parameters()) values += p.master.numel();
  EXPECT_EQ(values, count_lora_parameters(model.config(), *model.lora()));
}

TEST(Lora, NewAdapterChangesNothingAndFollowsTheSeed) {
  const auto fresh = [](uint64_t seed) {
    return Model::load(small().folder(),
                       {.use = ModelUse::kTraining,
                        .adapter = AdapterOptions{.folder = {}, .config = lora_on({"all"}), .seed = seed}});
  };
  Model model = fresh(1), same = fresh(1), other = fresh(2), plain = Model::load(small().folder(), {});
  EXPECT_TRUE(at::equal(model.score(small().batch()).nll_N, plain.score(small().batch()).nll_N));
  const at::Tensor a = model.parameters()[0].master;
  EXPECT_TRUE(at::equal(a, same.parameters()[0].master));
  EXPECT_FALSE(at::equal(a, other.parameters()[0].master));
  const double bound = 1 / std::sqrt(64.0), deviation = a.std().item<double>();
  EXPECT_LE(a.abs().max().item<double>(), bound);
  EXPECT_NEAR(deviation, bound / std::sqrt(3.0), 0.1 * bound) << "uniform";
  EXPECT_FALSE(at::equal(a, model.parameters()[2].master)) << "modules differ";
}

TEST(Lora, DropoutFollowsStepAndPassAndSparesTheScorePass) {
  Model model = adapted_model(small(), lora_on({"all"}, 0.5)), without = adapted_model(small(), lora_on({"all"}));
  const PackedTokens batch = small().batch();
  const auto pass = [&] { return model.forward_backward(batch).nll_N; };
  model.start_step(3);
  const at::Tensor first = pass(), second = pass();
  model.start_step(4);
  const at::Tensor next = pass();
  model.start_step(3);
  EXPECT_TRUE(at::equal(pass(), first));
  EXPECT_FALSE(at::equal(first, second));
  EXPECT_FALSE(at::equal(first, next));
  EXPECT_TRUE(at::equal(model.score(batch).nll_N, without.score(batch).nll_N));
}

/// A copy of a fixture's adapter to break.
class AdapterFiles {
 public:
  AdapterFiles() {
    std::filesystem::copy(small().folder() / "adapter_init", dir_.path());
    config_ = nlohmann::json::parse(read_file(dir_ / kLoraConfigFile));
  }

  void set(const std::string& key, const nlohmann::json& value) {
    config_[key] = value;
    write_file_atomic(dir_ / kLoraConfigFile, config_.dump());
  }
  void rewrite(const std::function<void(std::vector<TensorToWrite>&)>& change) {
    const SafetensorsFile file(small().folder() / "adapter_init" / kLoraWeightsFile);
    std::vector<TensorToWrite> tensors;
    for (const TensorView& t : file.tensors()) tensors.push_back({t.name, t.dtype, t.shape, t.bytes});
    change(tensors);
    write_safetensors(dir_ / kLoraWeightsFile, tensors);
  }
  Model load() const { return Model::load(small().folder(), {.adapter = AdapterOptions{.folder = dir_.path()}}); }
  void expect_refused(const std::vector<std::string>& parts) const {
    expect_throws<CheckpointError>([&] { load(); }, parts);
    expect_throws<CheckpointError>([&] { load(); }, {dir_.path().string()});
  }
  const std::filesystem::path& path() const { return dir_.path(); }

 private:
  TempDir dir_;
  nlohmann::json config_;
};

TEST(LoraFiles, WhatIsNotPlainLoraIsRefusedByName) {
  const std::vector<std::pair<std::string, nlohmann::json>> cases = {{"use_dora", true},
                                                                     {"bias", "all"},
                                                                     {"modules_to_save", {"lm_head"}},
                                                                     {"rank_pattern", {{"q_proj", 8}}},
                                                                     {"alpha_pattern", {{"q_proj", 8}}},
                                                                     {"layers_to_transform", {0}},
                                                                     {"fan_in_fan_out", true},
                                                                     {"target_parameters", {"experts"}},
                                                                     {"lora_bias", true},
                                                                     {"init_lora_weights", "pissa"},
                                                                     {"trainable_token_indices", {1}},
                                                                     {"some_new_feature", {{"x", 1}}},
                                                                     {"peft_type", "IA3"},
                                                                     {"r", 0},
                                                                     {"r", "4"},
                                                                     {"lora_alpha", nullptr},
                                                                     {"lora_dropout", 1.5},
                                                                     {"use_rslora", "yes"},
                                                                     {"target_modules", {"q_proj", "lm_head"}},
                                                                     {"target_modules", 3}};
  for (const auto& [key, value] : cases) {
    AdapterFiles files;
    files.set(key, value);
    files.expect_refused({key, "adapter_config.json"});
  }
}

TEST(LoraFiles, PatternsAndFullNamesAreTakenAsTargets) {
  for (const nlohmann::json& targets :
       {nlohmann::json(".*_proj"), nlohmann::json({"model.layers.0.self_attn.q_proj"})}) {
    AdapterFiles files;
    files.set("target_modules", targets);
    EXPECT_EQ(files.load().lora()->targets.size(), 7U);
  }
}

TEST(LoraFiles, TensorsThatDoNotFitAreNamed) {
  const std::string q = "base_model.model.model.layers.1.self_attn.q_proj.";
  const auto find = [&](std::vector<TensorToWrite>& tensors, const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const TensorToWrite& t) { return t.name == name; });
  };
  AdapterFiles files;
  files.rewrite([&](auto& tensors) { tensors.erase(find(tensors, q + "lora_B.weight")); });
  files.expect_refused({q + "lora_B.weight", "missing"});
  files.rewrite([&](auto& tensors) {
    tensors.erase(find(tensors, q + "lora_B.weight"));
    tensors.erase(find(tensors, q + "lora_A.weight"));
  });
  files.expect_refused({q + "lora_A.weight", "missing"});
  files.rewrite([&](auto& tensors) {
    std::swap(find(tensors, q + "lora_A.weight")->shape[0], find(tensors, q + "lora_A.weight")->shape[1]);
  });
  files.expect_refused({q + "lora_A.weight", "[4, inputs]", "[64, 4]"});
  files.rewrite(
      [&](auto& tensors) { find(tensors, q + "lora_A.weight")->name = "base_model.model.lm_head.lora_A.weight"; });
  files.expect_refused({"base_model.model.lm_head.lora_A.weight"});
  files.rewrite([&](auto& tensors) {
    find(tensors, q + "lora_A.weight")->name = "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight";
    find(tensors, q + "lora_B.weight")->name = "base_model.model.model.layers.7.self_attn.q_proj.lora_B.weight";
  });
  files.expect_refused({q + "lora_A.weight", "missing"});
  std::filesystem::remove(files.path() / kLoraWeightsFile);
  files.expect_refused({kLoraWeightsFile});
  std::filesystem::remove(files.path() / kLoraConfigFile);
  files.expect_refused({kLoraConfigFile});
}

TEST(LoraFiles, AdapterOfAnotherModelIsRefusedByLoadingAndMerging) {
  const std::filesystem::path adapter = ModelFixture("llama_untied").folder() / "adapter_init";  // more k/v heads
  expect_throws<CheckpointError>([&] { Model::load(small().folder(), {.adapter = AdapterOptions{.folder = adapter}}); },
                                 {"k_proj.lora_B.weight", "[32, 4]", "[64, 4]", "another model"});
  const TempDir target;
  expect_throws<CheckpointError>([&] { convert_to_hf(small().folder(), target / "merged", {.adapter = adapter}); },
                                 {"k_proj", "another model"});
  EXPECT_FALSE(std::filesystem::exists(target / "merged"));
}

TEST(LoraTargets, KeepTheirOrderAndRefuseOthers) {
  EXPECT_EQ(lora_targets({"v_proj", "q_proj", "v_proj"}), (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(lora_targets({"all"}).size(), 7U);
  expect_throws<ConfigError>([] { lora_targets({"qproj"}); }, {"qproj", "q_proj"});
}

}  // namespace
}  // namespace qtune
