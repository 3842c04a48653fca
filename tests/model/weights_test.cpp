// Loading and saving weights: what is accepted, what is refused, and that values survive.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "qtune/model/model.h"
#include "qtune/model/save_model.h"
#include "support/model_fixture.h"
#include "support/model_folder.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

const std::string kLayer1 = "model.layers.1.";

class WeightsTest : public testing::Test {
 protected:
  WeightsTest() { write_config(dir_.path(), fixture_config("llama_untied")); }

  Model load(const ModelOptions& options = {}) {
    weights_.write(dir_.path());
    return Model::load(dir_.path(), options);
  }

  void expect_refused(const std::vector<std::string>& parts) {
    for (const ModelUse use : {ModelUse::kInference, ModelUse::kTraining}) {
      expect_throws<CheckpointError>([&] { load({.use = use}); }, parts);
    }
  }

  double nll_difference(Model& model) {
    Model original = Model::load(fixture_.folder(), {});
    return (model.score(fixture_.batch()).nll_N - original.score(fixture_.batch()).nll_N).abs().max().item<double>();
  }

  TempDir dir_;
  ModelFixture fixture_{"llama_untied"};
  WeightsToChange weights_{"llama_untied"};
};

TEST_F(WeightsTest, MissingTensorIsNamed) {
  weights_.remove(kLayer1 + "self_attn.k_proj.weight");
  expect_refused({kLayer1 + "self_attn.k_proj.weight", "missing", dir_.path().string()});
}

TEST_F(WeightsTest, ExtraTensorIsNamed) {
  weights_.add(kLayer1 + "self_attn.q_proj.bias", Dtype::kF32, {64});
  expect_refused({kLayer1 + "self_attn.q_proj.bias"});
}

TEST_F(WeightsTest, LayerBeyondTheConfigIsNamed) {
  nlohmann::json config = fixture_config("llama_untied");
  config["num_hidden_layers"] = 2;
  write_config(dir_.path(), config);
  expect_refused({"model.layers.2."});
}

TEST_F(WeightsTest, MisshapenTensorIsNamedWithBothShapes) {
  weights_.add(kLayer1 + "mlp.up_proj.weight", Dtype::kF32, {111, 64});
  expect_refused({kLayer1 + "mlp.up_proj.weight", "[112, 64]", "[111, 64]"});
  weights_.add(kLayer1 + "mlp.up_proj.weight", Dtype::kF32, {112 * 64});
  expect_refused({kLayer1 + "mlp.up_proj.weight", "[112, 64]", "[7168]"});
}

TEST_F(WeightsTest, TransposedTensorIsRefused) {
  weights_.add(kLayer1 + "mlp.up_proj.weight", Dtype::kF32, {64, 112});
  expect_refused({kLayer1 + "mlp.up_proj.weight", "[112, 64]", "[64, 112]"});
}

TEST_F(WeightsTest, IntegerTensorIsRefused) {
  weights_.add("model.norm.weight", Dtype::kI32, {64});
  expect_refused({"model.norm.weight", "I32"});
}

TEST_F(WeightsTest, ConfigThatPromisesFarMoreThanTheFileHoldsIsRefusedBeforeMemoryIsTaken) {
  for (const char* key : {"vocab_size", "intermediate_size"}) {
    nlohmann::json config = fixture_config("llama_untied");
    config[key] = 2'000'000'000;
    write_config(dir_.path(), config);
    expect_refused({"2000000000"});
  }
}

TEST_F(WeightsTest, PositionsThatNoTextUsesTakeNoMemory) {
  nlohmann::json config = fixture_config("llama_untied");
  config["max_position_embeddings"] = 2'000'000'000;
  write_config(dir_.path(), config);
  Model model = load();
  EXPECT_EQ(nll_difference(model), 0);
}

TEST_F(WeightsTest, FolderWithoutWeightsIsRefused) {
  expect_throws<CheckpointError>([&] { Model::load(dir_.path(), {}); }, {dir_.path().string()});
}

TEST_F(WeightsTest, DerivedTensorsOfOldFilesAreIgnored) {
  weights_.add("model.layers.0.self_attn.rotary_emb.inv_freq", Dtype::kF32, {8});
  Model model = load();
  EXPECT_EQ(nll_difference(model), 0);
}

TEST_F(WeightsTest, SecondCopyOfATiedTableIsIgnored) {
  weights_ = WeightsToChange("llama_tied");
  write_config(dir_.path(), fixture_config("llama_tied"));
  weights_.add("lm_head.weight", Dtype::kF32, {331, 64});
  weights_.at("lm_head.weight").bytes = weights_.at("model.embed_tokens.weight").bytes;
  Model model = load(), original = Model::load(ModelFixture("llama_tied").folder(), {});
  EXPECT_TRUE(at::equal(model.score(fixture_.batch()).nll_N, original.score(fixture_.batch()).nll_N));
}

/// transformers would take the stored head, other readers the table.
TEST_F(WeightsTest, AnotherHeadBesideATiedTableIsRefused) {
  weights_ = WeightsToChange("llama_tied");
  write_config(dir_.path(), fixture_config("llama_tied"));
  weights_.add("lm_head.weight", Dtype::kF32, {331, 64});
  weights_.at("lm_head.weight").bytes = weights_.at("model.embed_tokens.weight").bytes;
  weights_.at("lm_head.weight").bytes.back() ^= std::byte{1};
  EXPECT_THAT([&] { load(); }, testing::ThrowsMessage<CheckpointError>(testing::HasSubstr(
                                   "tie_word_embeddings is true, but lm_head.weight is another tensor")));
}

TEST_F(WeightsTest, ShardsGiveTheSameModelAsOneFile) {
  weights_.write(dir_.path(), 50'000);
  ASSERT_TRUE(std::filesystem::exists(dir_ / "model.safetensors.index.json"));
  Model model = Model::load(dir_.path(), {});
  EXPECT_EQ(nll_difference(model), 0);
}

TEST_F(WeightsTest, StoredFloat64AndFloat16AreConverted) {
  weights_.convert("lm_head.weight", Dtype::kF64);
  Model exact = load();
  EXPECT_EQ(nll_difference(exact), 0);
  weights_.convert("lm_head.weight", Dtype::kF16);
  Model rounded = load();
  EXPECT_GT(nll_difference(rounded), 0);
  EXPECT_LT(nll_difference(rounded), 0.05) << "float16 keeps 11 bits: logits up to 50 move by 50 * 2^-12";
}

TEST_F(WeightsTest, TrainingKeepsFloat32MastersUnderBFloat16) {
  Model model = load({.compute_dtype = at::kBFloat16, .use = ModelUse::kTraining});
  const ModelWeights source(fixture_.folder());
  for (const Parameter& p : model.parameters()) {
    const TensorView& stored = *source.find(p.name);
    EXPECT_EQ(p.master.scalar_type(), at::kFloat) << p.name;
    EXPECT_EQ(std::memcmp(p.master.contiguous().data_ptr(), stored.bytes.data(), stored.bytes.size()), 0) << p.name;
    EXPECT_EQ(p.compute.scalar_type(), p.master.dim() == 2 ? at::kBFloat16 : at::kFloat) << p.name;
    EXPECT_TRUE(at::equal(p.compute, p.master.to(p.compute.scalar_type()))) << p.name;
    EXPECT_EQ(p.gradient.abs().sum().item<float>(), 0) << p.name;
  }
}

TEST_F(WeightsTest, InferenceHoldsNoMastersAndNoGradients) {
  Model model = load();
  for (const Parameter& p : model.parameters()) {
    EXPECT_FALSE(p.master.defined()) << p.name;
    EXPECT_FALSE(p.gradient.defined()) << p.name;
  }
  EXPECT_THROW(model.forward_backward(fixture_.batch()), Error);
}

TEST_F(WeightsTest, RefreshCopiesChangedMasters) {
  Model model = load({.compute_dtype = at::kBFloat16, .use = ModelUse::kTraining});
  for (Parameter& p : model.parameters()) p.master.add_(0.25);
  model.refresh_compute_weights();
  for (const Parameter& p : model.parameters()) {
    EXPECT_TRUE(at::equal(p.compute, p.master.to(p.compute.scalar_type()))) << p.name;
  }
}

class SaveModelTest : public testing::TestWithParam<const char*> {
 protected:
  ModelFixture fixture_{GetParam()};
  TempDir target_;
};

TEST_P(SaveModelTest, Float32ComesBackBitForBit) {
  Model model = Model::load(fixture_.folder(), {});
  save_model(model, fixture_.folder(), target_.path(), Dtype::kF32);
  const ModelWeights source(fixture_.folder()), saved(target_.path());
  ASSERT_EQ(saved.tensors().size(), source.tensors().size());
  for (const auto& [name, view] : source.tensors()) {
    const TensorView* found = saved.find(name);
    ASSERT_NE(found, nullptr) << name;
    EXPECT_EQ(found->shape, view->shape) << name;
    EXPECT_TRUE(std::ranges::equal(found->bytes, view->bytes)) << name;
  }
  Model again = Model::load(target_.path(), {});
  EXPECT_TRUE(at::equal(again.score(fixture_.batch()).nll_N, model.score(fixture_.batch()).nll_N));
}

TEST_P(SaveModelTest, BFloat16IsTheMastersRoundedOnce) {
  Model model = Model::load(fixture_.folder(), {.use = ModelUse::kTraining});
  save_model(model, fixture_.folder(), target_.path(), Dtype::kBF16);
  const ModelWeights saved(target_.path());
  for (const Parameter& p : model.parameters()) {
    const at::Tensor expected = p.master.to(at::kBFloat16).contiguous();
    const TensorView& found = *saved.find(p.name);
    EXPECT_EQ(found.dtype, Dtype::kBF16) << p.name;
    EXPECT_EQ(std::memcmp(found.bytes.data(), expected.data_ptr(), found.bytes.size()), 0) << p.name;
  }
}

TEST_P(SaveModelTest, MastersAreSavedNotTheirBFloat16Copies) {
  Model model = Model::load(fixture_.folder(), {.compute_dtype = at::kBFloat16, .use = ModelUse::kTraining});
  save_model(model, fixture_.folder(), target_.path(), Dtype::kF32);
  Model again = Model::load(target_.path(), {}), original = Model::load(fixture_.folder(), {});
  EXPECT_TRUE(at::equal(again.score(fixture_.batch()).nll_N, original.score(fixture_.batch()).nll_N));
}

TEST_P(SaveModelTest, ConfigTellsTheStoredDtypeUnderItsOwnKey) {
  Model model = Model::load(fixture_.folder(), {});
  save_model(model, fixture_.folder(), target_.path(), Dtype::kBF16);
  auto expected = nlohmann::ordered_json::parse(read_file(fixture_.folder() / "config.json"));
  expected["dtype"] = "bfloat16";
  EXPECT_EQ(nlohmann::ordered_json::parse(read_file(target_ / "config.json")).dump(), expected.dump())
      << "all other keys as they were, in their order";
}

INSTANTIATE_TEST_SUITE_P(Families, SaveModelTest, kFixtureModels,
                         [](const auto& family) { return std::string(family.param); });

TEST(SaveModel, ConfigOfTransformers4KeepsTorchDtype) {
  const TempDir source, target;
  nlohmann::json config = fixture_config("llama_tied");
  config.erase("dtype");
  config["torch_dtype"] = "float32";
  write_config(source.path(), config);
  WeightsToChange("llama_tied").write(source.path());
  Model model = Model::load(source.path(), {});
  save_model(model, source.path(), target.path(), Dtype::kBF16);
  config["torch_dtype"] = "bfloat16";
  EXPECT_EQ(nlohmann::json::parse(read_file(target / "config.json")), config);
}

/// Written by one version and saved again by the other.
TEST(SaveModel, ConfigWithBothNamesOfTheDtypeHasBothSet) {
  const TempDir source, target;
  nlohmann::json config = fixture_config("llama_tied");
  config["dtype"] = config["torch_dtype"] = "float32";
  write_config(source.path(), config);
  WeightsToChange("llama_tied").write(source.path());
  Model model = Model::load(source.path(), {});
  save_model(model, source.path(), target.path(), Dtype::kBF16);
  config["dtype"] = config["torch_dtype"] = "bfloat16";
  EXPECT_EQ(nlohmann::json::parse(read_file(target / "config.json")), config);
}

TEST(SaveTrained, FilesOfTheOtherKindThatStayAreAFaultOfTheModelsFolder) {
  const ModelFixture fixture("llama_tied");
  const TempDir target;
  std::filesystem::create_directories(target / "adapter_config.json/in the way");
  Model model = Model::load(fixture.folder(), {});
  expect_throws<CheckpointError>([&] { save_trained(model, fixture.folder(), target.path(), Dtype::kF32); },
                                 {"adapter_config.json", "the files of another training"});
}

TEST(SaveModel, TokenizerAndTemplateFilesAreCarriedOver) {
  const TempDir source, target;
  write_config(source.path(), fixture_config("llama_tied"));
  WeightsToChange("llama_tied").write(source.path());
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"}) {
    write_file_atomic(source / name, std::string(R"({"name": ")") + name + "\"}");
  }
  write_file_atomic(source / "notes.txt", "not part of a model");
  Model model = Model::load(source.path(), {});
  save_model(model, source.path(), target.path(), Dtype::kF32);
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"}) {
    EXPECT_EQ(read_file(target / name), read_file(source / name)) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(target / "notes.txt"));
}

TEST(SaveModel, IntoTheSourceFolderReplacesItsWeights) {
  const TempDir folder;
  write_config(folder.path(), fixture_config("llama_tied"));
  WeightsToChange("llama_tied").write(folder.path());
  Model model = Model::load(folder.path(), {.use = ModelUse::kTraining});
  for (Parameter& p : model.parameters()) p.master.mul_(0.5);
  save_model(model, folder.path(), folder.path(), Dtype::kF32);
  Model again = Model::load(folder.path(), {});
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    EXPECT_TRUE(at::equal(again.parameters()[i].compute, model.parameters()[i].master)) << model.parameters()[i].name;
  }
}

/// zero_stage: 1 in bfloat16.
TEST(Weights, SlicesOfMastersMakeTheWholeAndNormsStayWhole) {
  const std::filesystem::path folder = std::filesystem::path(QTUNE_TEST_DATA) / "models/llama_tied";
  const ModelOptions options{.compute_dtype = at::kBFloat16, .use = ModelUse::kTraining};
  Model whole = Model::load(folder, options);
  std::vector<Model> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    ModelOptions own = options;
    own.master_shard = {.rank = rank, .count = 3};
    ranks.push_back(Model::load(folder, own));
  }
  for (size_t i = 0; i < whole.parameters().size(); ++i) {
    const Parameter& expected = whole.parameters()[i];
    std::vector<at::Tensor> slices;
    for (Model& rank : ranks) {
      const Parameter& p = rank.parameters()[i];
      EXPECT_TRUE(at::equal(p.compute, expected.compute)) << p.name;
      if (expected.compute.scalar_type() == at::kFloat) {
        EXPECT_FALSE(p.master_begin) << p.name;
        EXPECT_EQ(p.master.data_ptr(), p.compute.data_ptr()) << p.name;
      } else if (p.master.defined()) {
        slices.push_back(p.master);
      }
    }
    if (slices.empty()) continue;
    EXPECT_TRUE(at::equal(at::cat(slices), expected.master.reshape({-1}))) << expected.name;
  }
}

}  // namespace
}  // namespace qtune
