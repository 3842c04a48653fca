#include "qtune/formats/model_config.h"

#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/log_text.h"
#include "support/model_folder.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using nlohmann::json;

class ModelConfigTest : public testing::Test {
 protected:
  ModelConfig read(const json& config) {
    write_config(dir_.path(), config);
    return read_model_config(dir_.path());
  }

  void expect_refused(const json& config, const std::vector<std::string>& parts) {
    expect_throws<CheckpointError>([&] { read(config); }, parts);
  }

  /// The fixture's config with one key changed.
  static json with(const std::string& key, const json& value) {
    json config = fixture_config("llama_tied");
    config[key] = value;
    return config;
  }

  static json without(const std::string& key) {
    json config = fixture_config("llama_tied");
    config.erase(key);
    return config;
  }

  TempDir dir_;
};

TEST_F(ModelConfigTest, ReadsTheKeysOfTransformers5) {
  const ModelConfig c = read(fixture_config("llama_tied"));
  EXPECT_EQ(c.model_type, "llama");
  EXPECT_EQ(c.vocab_size, 331);
  EXPECT_EQ(c.hidden_size, 64);
  EXPECT_EQ(c.intermediate_size, 112);
  EXPECT_EQ(c.num_layers, 3);
  EXPECT_EQ(c.num_heads, 4);
  EXPECT_EQ(c.num_kv_heads, 2);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.max_positions, 512);
  EXPECT_DOUBLE_EQ(c.rms_norm_eps, 1e-5);
  EXPECT_DOUBLE_EQ(c.rope_theta, 100000.0);
  EXPECT_TRUE(c.tied_embeddings);
  EXPECT_EQ(c.eos_ids, (std::vector<int32_t>{2}));
  EXPECT_EQ(c.qkv_width(), 128);
}

TEST_F(ModelConfigTest, ReadsTheKeysOfTransformers4) {
  json config = without("rope_parameters");
  config.erase("dtype");
  config["torch_dtype"] = "bfloat16";
  config["rope_theta"] = 500000.0;
  config["rope_scaling"] = nullptr;
  EXPECT_DOUBLE_EQ(read(config).rope_theta, 500000.0);
}

TEST_F(ModelConfigTest, MissingOptionalKeysTakeTheDefaultsOfTransformers) {
  json config = fixture_config("llama_tied");
  for (const char* key :
       {"rope_parameters", "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps",
        "tie_word_embeddings", "eos_token_id", "hidden_act", "attention_bias", "mlp_bias"}) {
    config.erase(key);
  }
  const ModelConfig c = read(config);
  EXPECT_EQ(c.num_kv_heads, 4) << "as many as query heads";
  EXPECT_EQ(c.head_dim, 16) << "hidden_size / num_attention_heads";
  EXPECT_EQ(c.max_positions, 2048);
  EXPECT_DOUBLE_EQ(c.rms_norm_eps, 1e-6);
  EXPECT_DOUBLE_EQ(c.rope_theta, 10000.0);
  EXPECT_FALSE(c.tied_embeddings);
  EXPECT_TRUE(c.eos_ids.empty());
}

TEST_F(ModelConfigTest, NullCountsAsMissing) {
  json config = with("head_dim", nullptr);
  config["num_key_value_heads"] = nullptr;
  EXPECT_EQ(read(config).head_dim, 16);
  EXPECT_EQ(read(config).num_kv_heads, 4);
}

TEST_F(ModelConfigTest, HeadDimMayDifferFromTheQuotient) { EXPECT_EQ(read(with("head_dim", 24)).qkv_width(), 192); }

TEST_F(ModelConfigTest, EachRequiredKeyIsNamedWhenMissing) {
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}) {
    expect_refused(without(key), {"config.json", key, "missing"});
  }
}

TEST_F(ModelConfigTest, SizeThatIsNoPositiveIntegerIsNamedWithItsValue) {
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const json& bad :
         {json("64"), json(64.5), json(0), json(-64), json(true), json::array({64}), json::object()}) {
      expect_refused(with(key, bad), {"config.json", key, "positive integer", bad.dump()});
    }
  }
}

TEST_F(ModelConfigTest, HugeNumbersAreRefused) {
  for (const char* key : {"vocab_size", "hidden_size", "num_attention_heads", "max_position_embeddings"}) {
    for (const json& bad : {json(2147483648), json(int64_t{1} << 62), json(18446744073709551615ull), json(1e30)}) {
      expect_refused(with(key, bad), {"config.json", key});
    }
  }
}

TEST_F(ModelConfigTest, WrongTypesOfOtherKeysAreNamed) {
  expect_refused(with("rms_norm_eps", "1e-5"), {"rms_norm_eps", "a number"});
  expect_refused(with("tie_word_embeddings", 1), {"tie_word_embeddings", "true or false"});
  expect_refused(with("model_type", 5), {"model_type", "a string"});
  expect_refused(with("rope_parameters", 5), {"rope_parameters", "an object"});
  expect_refused(with("rope_parameters", {{"rope_theta", "x"}}), {"rope_theta", "a number"});
  expect_refused(with("eos_token_id", "two"), {"eos_token_id", "an id"});
  expect_refused(with("eos_token_id", {2, 2.5}), {"eos_token_id", "an id"});
}

TEST_F(ModelConfigTest, NumbersThatMakeNoModelAreRefused) {
  expect_refused(with("rms_norm_eps", -1e-5), {"rms_norm_eps"});
  expect_refused(with("rope_parameters", {{"rope_theta", 0.0}}), {"rope_theta"});
  expect_refused(with("rope_parameters", {{"rope_theta", -10000.0}}), {"rope_theta"});
}

TEST_F(ModelConfigTest, EosIdOutsideInt32IsRefused) {
  expect_refused(with("eos_token_id", int64_t{1} << 33), {"eos_token_id"});
}

TEST_F(ModelConfigTest, UnknownArchitectureIsNamed) {
  expect_refused(with("model_type", "mamba"), {"model_type", "mamba", "--->"});
  expect_refused(without("model_type"), {"model_type"});
}

TEST_F(ModelConfigTest, ScaledRotaryPositionsAreReadInBothForms) {
  const json llama3 = {{"rope_type", "llama3"},   {"factor", 8.0},     {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0}, {"rope_theta", 5e5}, {"original_max_position_embeddings", 32}};
  const RopeScaling scaling = read(with("rope_parameters", llama3)).rope_scaling;
  EXPECT_EQ(scaling.type, RopeScalingType::kLlama3);
  EXPECT_EQ(scaling.factor, 8.0);
  EXPECT_EQ(scaling.original_positions, 32);
  for (const char* type_key : {"rope_type", "type"}) {
    json config = without("rope_parameters");
    config["rope_theta"] = 777.0;
    config["rope_scaling"] = {{type_key, "linear"}, {"factor", 2.0}};
    EXPECT_EQ(read(config).rope_scaling.type, RopeScalingType::kLinear);
    EXPECT_EQ(read(config).rope_theta, 777.0);
    for (const char* unknown : {"dynamic", "yarn", "longrope"}) {
      config["rope_scaling"][type_key] = unknown;
      expect_refused(config, {"rope_scaling", unknown});
    }
  }
}

// rope_scaling that a user adds to a config of transformers 5 was ignored.
TEST_F(ModelConfigTest, RopeScalingWinsOverRopeParametersAsInTransformers) {
  json config = with("rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}});
  config["rope_parameters"] = {{"rope_type", "llama3"}, {"rope_theta", 1e5}};  // would be refused if it were read
  const LogText log;
  ModelConfig c = read(config);
  EXPECT_EQ(c.rope_scaling.type, RopeScalingType::kLinear);
  EXPECT_EQ(c.rope_scaling.factor, 4.0);
  EXPECT_EQ(c.rope_theta, 10000.0) << "that of rope_parameters is not taken";
  EXPECT_THAT(log.text(), testing::HasSubstr("config.json: rope_parameters is not read"));
  config["rope_theta"] = 5000.0;
  EXPECT_EQ(read(config).rope_theta, 5000.0);
  config["rope_scaling"]["rope_theta"] = 777.0;
  EXPECT_EQ(read(config).rope_theta, 777.0);
  EXPECT_EQ(log.lines_with("rope_parameters is not read").size(), 1u) << "a warning for each reading";
  for (const json& nothing : {json(nullptr), json::object()}) {
    c = read(with("rope_scaling", nothing));
    EXPECT_EQ(c.rope_scaling.type, RopeScalingType::kNone);
    EXPECT_EQ(c.rope_theta, 1e5);
  }
}

// It was taken from inside only, else from max_position_embeddings.
TEST_F(ModelConfigTest, OriginalPositionsAtTheTopWinOverThoseInside) {
  json llama3 = {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};
  json config = with("rope_parameters", llama3);
  EXPECT_EQ(read(config).rope_scaling.original_positions, 512) << "max_position_embeddings";
  config["original_max_position_embeddings"] = 32;
  EXPECT_EQ(read(config).rope_scaling.original_positions, 32);
  config["rope_parameters"]["original_max_position_embeddings"] = 128;
  EXPECT_EQ(read(config).rope_scaling.original_positions, 32);
  config["original_max_position_embeddings"] = nullptr;
  EXPECT_EQ(read(config).rope_scaling.original_positions, 128);
}

TEST_F(ModelConfigTest, AFaultOfRotaryScalingIsNamed) {
  const json llama3 = {{"rope_type", "llama3"}, {"factor", 8.0}, {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0}};
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    json lacking = llama3;
    lacking.erase(key);
    expect_refused(with("rope_parameters", lacking), {"rope_parameters", key, "missing"});
  }
  json crossed = llama3;
  crossed["high_freq_factor"] = 1.0;
  expect_refused(with("rope_parameters", crossed), {"high_freq_factor", "low_freq_factor"});
}

TEST_F(ModelConfigTest, FamiliesDifferInBiasesNormsAndWindow) {
  const auto family = [&](const char* model_type) {
    json config = with("model_type", model_type);
    config["sliding_window"] = 16;
    return read(config);
  };
  const ModelConfig llama = family("llama"), mistral = family("mistral"), qwen2 = family("qwen2"),
                    qwen3 = family("qwen3");
  EXPECT_FALSE(llama.qkv_bias || llama.qk_norm || llama.sliding_window > 0);
  EXPECT_EQ(mistral.sliding_window, 16);
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_EQ(qwen2.sliding_window, 0) << "use_sliding_window is false";
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_EQ(qwen2.num_parameters() - llama.num_parameters(), 3 * 128);
  EXPECT_EQ(qwen3.num_parameters() - llama.num_parameters(), 3 * 2 * 16);
}

// MistralConfig's own default; null means none. Texts of more than 4,096 tokens were computed otherwise.
TEST_F(ModelConfigTest, AMistralWithoutTheKeyHasAWindow) {
  json config = with("model_type", "mistral");
  config.erase("sliding_window");
  EXPECT_EQ(read(config).sliding_window, 4096);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(read(config).sliding_window, 0);
  EXPECT_EQ(read(without("sliding_window")).sliding_window, 0) << "llama";
}

TEST_F(ModelConfigTest, FamiliesDifferInTheirDefaultLength) {
  json config = without("max_position_embeddings");
  for (const auto& [family, length] : {std::pair{"mistral", 131072}, {"qwen2", 32768}, {"qwen3", 32768}}) {
    config["model_type"] = family;
    EXPECT_EQ(read(config).max_positions, length) << family;
  }
}

TEST_F(ModelConfigTest, OptionsThatWouldBeComputedWronglyAreRefused) {
  expect_refused(with("attention_bias", true), {"attention_bias", "true"});
  expect_refused(with("mlp_bias", true), {"mlp_bias", "true"});
  expect_refused(with("use_sliding_window", true), {"use_sliding_window", "true"});
  expect_refused(with("hidden_act", "gelu"), {"hidden_act", "silu", "gelu"});
}

TEST_F(ModelConfigTest, SizesThatDoNotFitTogetherAreRefused) {
  expect_refused(with("num_key_value_heads", 3), {"num_key_value_heads", "3"});
  expect_refused(with("num_key_value_heads", 8), {"num_key_value_heads", "8"});
  expect_refused(with("head_dim", 15), {"head_dim", "even", "15"});
  json config = with("num_attention_heads", 5);
  config.erase("head_dim");
  expect_refused(config, {"hidden_size", "num_attention_heads"});
}

TEST_F(ModelConfigTest, GenerationConfigSaysWhereTextEnds) {
  write_file_atomic(dir_ / "generation_config.json", R"({"eos_token_id": [7, 9]})");
  EXPECT_EQ(read(fixture_config("llama_tied")).eos_ids, (std::vector<int32_t>{7, 9}));
  write_file_atomic(dir_ / "generation_config.json", R"({"eos_token_id": null})");
  EXPECT_EQ(read(fixture_config("llama_tied")).eos_ids, (std::vector<int32_t>{2}));
  write_file_atomic(dir_ / "generation_config.json", "{");
  expect_refused(fixture_config("llama_tied"), {"generation_config.json", "JSON"});
}

TEST_F(ModelConfigTest, FilesThatAreNoConfigAreRefused) {
  expect_throws<CheckpointError>([&] { read_model_config(dir_ / "nowhere"); }, {"config.json", "--->"});
  for (const char* text : {"", "{", "[]", "null", "\xff\xfe", "{\"vocab_size\": 1e999}"}) {
    write_file_atomic(dir_ / "config.json", text);
    expect_throws<CheckpointError>([&] { read_model_config(dir_.path()); }, {"config.json"});
  }
}

TEST_F(ModelConfigTest, AFolderOfAnotherKindIsNamed) {
  write_file_atomic(dir_ / "model.gguf", "GGUF");
  expect_throws<CheckpointError>([&] { read_model_config(dir_.path()); },
                                 {"config.json: expected the model's config, found \"model.gguf\"", "qtune convert"});
  write_file_atomic(dir_ / "adapter_config.json", "{}");
  expect_throws<CheckpointError>([&] { read_model_config(dir_.path()); },
                                 {"a LoRA adapter's", "--model BASE --adapter " + dir_.path().string()});
}

TEST_F(ModelConfigTest, LongValuesAreCutInTheMessage) {
  try {
    read(with("vocab_size", std::string(100'000, 'x')));
    ADD_FAILURE() << "accepted";
  } catch (const CheckpointError& e) {
    EXPECT_LT(std::string(e.what()).size(), 400u);
  }
}

TEST_F(ModelConfigTest, LineBreaksInNamesAreEscapedInTheMessage) {
  expect_refused(with("model_type", "a\nb"), {R"(model_type: expected one of)", R"("a\nb")"});
  expect_refused(with("hidden_act", "a\nb"), {R"(hidden_act: expected silu, found "a\nb")"});
  expect_refused(with("rope_parameters", {{"rope_type", "a\nb"}}), {R"(.rope_type: expected default)", R"("a\nb")"});
}

TEST_F(ModelConfigTest, SizesWhoseProductsDoNotFit64BitsAreRefused) {
  json config = fixture_config("llama_tied");
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"}) {
    config[key] = 2147483646;
    if (std::string_view(key) == "vocab_size") continue;  // 2^31 rows of 64 are fine
    config["head_dim"] = 2;
    expect_refused(config, {"config.json", "at most 1e+15 weights", "--->"});
  }
}

TEST_F(ModelConfigTest, ParametersAreCountedOnce) {
  // Embedding 331 * 64; a layer 64 * 128 + 64 * 64 + 3 * 64 * 112 and two norms of 64; the last norm.
  const int64_t layer = 64 * 128 + 64 * 64 + 3 * 64 * 112;
  json config = fixture_config("llama_tied");
  EXPECT_EQ(read(config).num_parameters(), 331 * 64 + 3 * (layer + 2 * 64) + 64);
  EXPECT_EQ(read(config).layer_macs_per_token(), 3 * layer);
  config["tie_word_embeddings"] = false;
  EXPECT_EQ(read(config).num_parameters(), 2 * 331 * 64 + 3 * (layer + 2 * 64) + 64);
}

}  // namespace
}  // namespace qtune
