#include "qtune/formats/convert.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <csignal>
#include <limits>
#include <nlohmann/json.hpp>

#include "file_parts.h"
#include "gguf_builder.h"
#include "qtune/base/file.h"
#include "qtune/base/stop_signals.h"
#include "qtune/formats/convert_to_gguf.h"
#include "qtune/formats/safetensors.h"
#include "support/dead_process.h"
#include "support/log_text.h"
#include "support/model_folder.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using Json = nlohmann::json;

const std::filesystem::path kData = std::filesystem::path(QTUNE_TEST_DATA) / "gguf";
const std::filesystem::path kModels = std::filesystem::path(QTUNE_TEST_DATA) / "models";

Json read_json(const std::filesystem::path& path) { return Json::parse(read_file(path)); }

TEST(ConvertGguf, Fp32WeightsAreTheBitsOfTheReference) {
  const TempDir dir;
  convert_gguf_to_hf(kData / "tiny.gguf", dir / "out", {.dtype = Dtype::kF32});
  EXPECT_EQ(read_file(dir / "out/model.safetensors"), read_file(kData / "expected.safetensors"));
}

TEST(ConvertGguf, Bf16WeightsAreTheReferenceRoundedOnce) {
  const TempDir dir;
  const ConvertSummary summary = convert_gguf_to_hf(kData / "tiny.gguf", dir / "out");
  const SafetensorsFile expected(kData / "expected.safetensors"), found(dir / "out/model.safetensors");
  ASSERT_EQ(found.tensors().size(), expected.tensors().size());
  for (const TensorView& tensor : found.tensors()) {
    const TensorView& exact = expected.at(tensor.name);
    EXPECT_EQ(tensor.dtype, Dtype::kBF16);
    EXPECT_EQ(tensor.shape, exact.shape);
    std::vector<float> values(exact.bytes.size() / sizeof(float));
    to_floats(exact.bytes, Dtype::kF32, values);
    std::vector<std::byte> rounded(values.size() * 2);
    from_floats(values, Dtype::kBF16, rounded);
    EXPECT_TRUE(std::equal(rounded.begin(), rounded.end(), tensor.bytes.begin(), tensor.bytes.end())) << tensor.name;
  }
  EXPECT_EQ(summary.describe(), "21 tensors, 20,128 values, bfloat16, untied embeddings, vocabulary of 24");
}

TEST(ConvertGguf, TheTokenizerIsTheOneThatTheReferenceLibrarySaves) {
  const TempDir dir;
  convert_gguf_to_hf(kData / "tiny.gguf", dir / "out");
  EXPECT_EQ(read_file(dir / "out/tokenizer.json"), read_file(kData / "tokenizer.json"));
}

TEST(ConvertGguf, ConfigsSayWhatTheFileSays) {
  const TempDir dir;
  convert_gguf_to_hf(kData / "tiny.gguf", dir / "out");
  const Json config = read_json(dir / "out/config.json");
  EXPECT_EQ(config, Json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 50000.0,
    "rope_scaling": null, "vocab_size": 24, "tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false,
    "attention_dropout": 0.0, "initializer_range": 0.02, "use_cache": true, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": null, "torch_dtype": "bfloat16"})"));
  EXPECT_EQ(read_json(dir / "out/generation_config.json"), Json::parse(R"({"bos_token_id": 1, "eos_token_id": 2})"));
  EXPECT_EQ(read_json(dir / "out/tokenizer_config.json"),
            Json::parse(R"({"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false,
    "model_max_length": 128, "chat_template": "{{ messages[0]['content'] }}\n",
    "additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"})"));
}

TEST(ConvertGguf, WithoutAnOutputTensorTheEmbeddingIsTheHead) {
  const TempDir dir;
  write_bytes(dir / "t.gguf", small_llama().build());
  EXPECT_TRUE(convert_gguf_to_hf(dir / "t.gguf", dir / "out").tied);
  EXPECT_EQ(read_json(dir / "out/config.json")["tie_word_embeddings"], true);
  EXPECT_EQ(read_json(dir / "out/config.json")["num_key_value_heads"], 1);
  EXPECT_EQ(ModelWeights(dir / "out").find("lm_head.weight"), nullptr);
}

TEST(ConvertGguf, RowsOfQueriesGoBackToHalves) {
  const TempDir dir;
  write_bytes(dir / "t.gguf", small_llama().build());
  convert_gguf_to_hf(dir / "t.gguf", dir / "out", {.dtype = Dtype::kF32});
  const SafetensorsFile file(dir / "out/model.safetensors");
  std::vector<float> values(16);
  to_floats(file.at("model.layers.0.self_attn.q_proj.weight").bytes, Dtype::kF32, values);
  // Stored rows are 0, 2, 1, 3 of the head: two pairs of (first half, second half).
  EXPECT_EQ(values, (std::vector<float>{0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15}));
  to_floats(file.at("model.layers.0.self_attn.v_proj.weight").bytes, Dtype::kF32, values);
  EXPECT_EQ(values[4], 4.0f);
}

void expect_refused(const GgufBuilder& builder, std::string_view part) {
  const TempDir dir;
  write_bytes(dir / "t.gguf", builder.build());
  expect_error<CheckpointError>([&] { convert_gguf_to_hf(dir / "t.gguf", dir / "out"); }, part);
  EXPECT_EQ(num_entries(dir.path()), 1u) << "something was left behind";
}

TEST(ConvertGguf, AMissingOrUnknownOrMisshapenTensorIsNamed) {
  GgufBuilder missing = small_llama_metadata();
  missing.float_tensor("token_embd.weight", {4, 5});
  expect_refused(add_small_llama_layer(missing, "blk.0.ffn_up"), "tensor blk.0.ffn_up.weight is missing");
  expect_refused(small_llama_metadata(), "tensor token_embd.weight is missing");
  expect_refused(small_llama().float_tensor("blk.0.attn_q.bias", {4}),
                 "tensor \"blk.0.attn_q.bias\" belongs to no plain llama");
  expect_refused(small_llama().float_tensor("rope_freqs.weight", {2}),
                 "tensor \"rope_freqs.weight\" belongs to no plain llama");
  GgufBuilder misshapen = small_llama_metadata();
  misshapen.float_tensor("token_embd.weight", {8, 5});
  expect_refused(add_small_llama_layer(misshapen), "tensor token_embd.weight: expected shape [5, 4], found [5, 8]");
}

TEST(ConvertGguf, OtherArchitecturesAndTokenizersAreRefused) {
  expect_refused(GgufBuilder().text("general.architecture", "gpt2"),
                 "expected general.architecture \"llama\", found \"gpt2\"");
  expect_refused(small_llama().text("llama.rope.scaling.type", "yarn"),
                 "llama.rope.scaling.type \"yarn\" is not supported");
  expect_refused(GgufBuilder().text("general.architecture", "llama"),
                 "llama.embedding_length: expected a value, found none");
}

TEST(ConvertGguf, ASmallEmbeddingForTheVocabularyIsRefused) {
  GgufBuilder builder = small_llama_metadata();
  builder.float_tensor("token_embd.weight", {4, 4});
  expect_refused(add_small_llama_layer(builder), "expected at most 4 tokens for the rows of the embedding, found 5");
}

TEST(ConvertGguf, AnIdBehindTheVocabularyIsRefused) {
  expect_refused(small_llama().u32("tokenizer.ggml.bos_token_id", 5), "bos_token_id: expected an id below 5, found 5");
}

GgufBuilder with_tokenizer(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
                           const std::string& pre = "gpt-2") {
  GgufBuilder builder;
  builder.text("general.architecture", "llama")
      .u32("llama.embedding_length", 4)
      .u32("llama.attention.head_count", 1)
      .u32("llama.feed_forward_length", 3)
      .u32("llama.block_count", 1)
      .u32("llama.context_length", 64)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-6f)
      .text("tokenizer.ggml.model", "gpt2")
      .text("tokenizer.ggml.pre", pre)
      .texts("tokenizer.ggml.tokens", tokens)
      .integers("tokenizer.ggml.token_type", std::vector<int32_t>(tokens.size(), 1))
      .texts("tokenizer.ggml.merges", merges)
      .float_tensor("token_embd.weight", {4, 5});
  return add_small_llama_layer(builder);
}

TEST(ConvertGguf, ABrokenVocabularyIsRefused) {
  expect_refused(with_tokenizer({"a", "a"}, {}), "token \"a\" is there twice, as 0 and 1");
  expect_refused(with_tokenizer({"a", "b"}, {"a b"}), "merge \"a b\": expected two tokens that make a third");
  expect_refused(with_tokenizer({"a", "b"}, {"ab"}), "merge \"ab\"");
  expect_refused(with_tokenizer({"a", "b"}, {" b"}), "merge \" b\"");
  expect_refused(with_tokenizer({"a", "\xff"}, {}), "expected texts in UTF-8 for tokenizer.json");
  expect_refused(with_tokenizer({"a"}, {}, "llama-bpe"),
                 "tokenizer.ggml.pre: expected smollm or gpt-2, found \"llama-bpe\"");
}

TEST(ConvertGguf, ATakenOutputFolderIsLeftAlone) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "out");
  write_bytes(dir / "out/mine.txt", "mine");
  write_bytes(dir / "file", "mine");
  expect_error<ConfigError>([&] { convert_gguf_to_hf(kData / "tiny.gguf", dir / "out"); },
                            "expected a new or empty folder");
  expect_error<ConfigError>([&] { convert_gguf_to_hf(kData / "tiny.gguf", dir / "file"); },
                            "expected a folder to write, found a file");
  EXPECT_EQ(num_entries(dir / "out"), 1u);
  EXPECT_EQ(num_entries(dir.path()), 2u);
}

TEST(ConvertGguf, AnEmptyFolderAndMissingParentsAreFine) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "empty");
  convert_gguf_to_hf(kData / "tiny.gguf", dir / "empty/");
  convert_gguf_to_hf(kData / "tiny.gguf", dir / "a/b/c");
  EXPECT_EQ(num_entries(dir / "empty"), 5u);
  EXPECT_EQ(num_entries(dir / "a/b"), 1u);
}

TEST(ConvertGguf, AFullDiskLeavesNoFolder) {
  const TempDir dir;
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{16384, before.rlim_max};  // enough for the JSON files, not for the weights
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    convert_gguf_to_hf(kData / "tiny.gguf", dir / "out");
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  // the target's name, not that of the folder beside it
  EXPECT_THAT(message, testing::StartsWith((dir / "out/model.safetensors").string() + ": cannot write"));
  EXPECT_EQ(num_entries(dir.path()), 0u);
}

TEST(ConvertGguf, ASignalLeavesNoFolder) {
  const TempDir dir;
  const StopSignals signals;
  std::raise(SIGTERM);
  expect_error<Error>([&] { convert_gguf_to_hf(kData / "tiny.gguf", dir / "out"); }, "interrupted");
  EXPECT_EQ(num_entries(dir.path()), 0u);
}

TEST(ConvertGguf, WhatAKilledConversionLeftIsRemoved) {
  const TempDir dir;
  const std::filesystem::path left = dir / fmt::format("out.tmp-{}-0", dead_process());
  std::filesystem::create_directory(left);
  write_bytes(left / "model.safetensors", "half");
  convert_gguf_to_hf(kData / "tiny.gguf", dir / "out");
  EXPECT_EQ(num_entries(dir.path()), 1u);
}

TEST(ConvertFolder, ShardsJoinToTheSameFile) {
  const TempDir dir;
  convert_to_hf(kModels / "llama_tied", dir / "sharded", {.shard_bytes = 100'000});
  EXPECT_TRUE(std::filesystem::exists(dir / "sharded/model.safetensors.index.json"));
  convert_to_hf(dir / "sharded", dir / "joined");
  EXPECT_EQ(read_file(dir / "joined/model.safetensors"), read_file(kModels / "llama_tied/model.safetensors"));
  EXPECT_EQ(read_json(dir / "joined/generation_config.json"), read_json(kModels / "llama_tied/generation_config.json"));
  EXPECT_FALSE(std::filesystem::exists(dir / "joined/expected.safetensors"));
}

TEST(ConvertFolder, FilesOfATrainingCheckpointStayBehind) {
  const TempDir dir;
  std::filesystem::copy(kModels / "llama_untied", dir / "checkpoint-4");
  const std::vector<std::string> own = {"manifest.json", "trainer_state.json", "optimizer.safetensors", "config.yaml"};
  for (const std::string& name : own) write_file_atomic(dir / "checkpoint-4" / name, "{}");
  convert_to_hf(dir / "checkpoint-4", dir / "out");
  for (const std::string& name : own) EXPECT_FALSE(std::filesystem::exists(dir / "out" / name)) << name;
  EXPECT_TRUE(std::filesystem::exists(dir / "out/generation_config.json"));
}

TEST(ConvertFolder, AnotherDtypeIsWrittenIntoWeightsAndConfig) {
  const TempDir dir;
  convert_to_hf(kModels / "llama_untied", dir / "out", {.dtype = Dtype::kBF16});
  const TensorView exact = SafetensorsFile(kModels / "llama_untied/model.safetensors").tensors().front();
  const SafetensorsFile file(dir / "out/model.safetensors");
  for (const TensorView& tensor : file.tensors()) EXPECT_EQ(tensor.dtype, Dtype::kBF16);
  EXPECT_EQ(file.at(exact.name).shape, exact.shape);
  EXPECT_EQ(read_json(dir / "out/config.json")["dtype"], "bfloat16");
  EXPECT_FALSE(read_json(dir / "out/config.json").contains("torch_dtype"));
}

TEST(ConvertFolder, AnAdapterOfAnotherBaseModelIsWarnedOf) {
  const TempDir dir;
  std::filesystem::copy(kModels / "llama_tied/adapter_trained", dir / "adapter");
  Json config = read_json(dir / "adapter/adapter_config.json");
  config["base_model_name_or_path"] = "org/another";
  write_bytes(dir / "adapter/adapter_config.json", config.dump());
  const LogText log;
  convert_to_hf(kModels / "llama_tied", dir / "out", {.adapter = dir / "adapter"});
  EXPECT_EQ(log.lines_with("the adapter was made for \"org/another\"").size(), 1u) << log.text();
}

/// A fixture's model with two weights that float16 can't hold, and two that it just can.
void make_large_model(const std::filesystem::path& folder) {
  std::filesystem::create_directory(folder);
  write_config(folder, fixture_config("llama_tied"));
  WeightsToChange weights("llama_tied");
  const auto set = [&](const std::string& name, std::vector<float> values) {
    std::memcpy(weights.at(name).bytes.data(), values.data(), values.size() * sizeof(float));
  };
  set("model.layers.0.mlp.up_proj.weight", {65520, 65519, -65504});
  set("model.layers.1.self_attn.q_proj.weight", {-1e6f, std::numeric_limits<float>::infinity()});
  weights.write(folder);
}

// They became infinite without a word.
TEST(ConvertFolder, WeightsThatFloat16CannotHoldAreToldOnce) {
  const TempDir dir;
  make_large_model(dir / "model");
  const std::string warning =
      "out: 2 weights became infinite, since float16 ends at 65504; the largest, -1e+06, is in "
      "\"model.layers.1.self_attn.q_proj.weight\" ---> use --dtype bf16";
  for (const std::filesystem::path& adapter : {std::filesystem::path(), kModels / "llama_tied/adapter_init"}) {
    const LogText log;
    convert_to_hf(dir / "model", dir / "out", {.dtype = Dtype::kF16, .adapter = adapter});
    EXPECT_THAT(log.text(), testing::HasSubstr(warning));
    EXPECT_EQ(log.lines_with("warning").size(), 1u) << log.text();
    std::filesystem::remove_all(dir / "out");
  }
  const LogText log;
  for (const Dtype dtype : {Dtype::kBF16, Dtype::kF32}) {
    convert_to_hf(dir / "model", dir / "out", {.dtype = dtype});
    std::filesystem::remove_all(dir / "out");
  }
  EXPECT_EQ(log.text(), "");
}

TEST(ConvertGguf, WeightsThatFloat16CannotHoldAreTold) {
  const TempDir dir;
  make_large_model(dir / "model");
  std::filesystem::copy_file(kData / "tokenizer.json", dir / "model/tokenizer.json");
  write_bytes(dir / "model/tokenizer_config.json", R"({"eos_token": "<|im_end|>", "bos_token": "<|im_start|>"})");
  const LogText log;
  convert_hf_to_gguf(dir / "model", dir / "f32.gguf");
  EXPECT_EQ(log.text(), "");
  convert_hf_to_gguf(dir / "model", dir / "f16.gguf", {.type = GgmlType::kF16});
  EXPECT_EQ(log.lines_with("f16.gguf: 2 weights became infinite").size(), 1u) << log.text();
  convert_gguf_to_hf(dir / "f32.gguf", dir / "out", {.dtype = Dtype::kF16});
  EXPECT_EQ(log.lines_with("out: 2 weights became infinite").size(), 1u) << log.text();
}

TEST(Convert, AnInputOfAnotherKindIsRefused) {
  const TempDir dir;
  write_bytes(dir / "x.bin", "no model");
  expect_error<CheckpointError>([&] { convert_to_hf(dir / "x.bin", dir / "out"); }, "found another kind of file");
  expect_error<CheckpointError>([&] { convert_to_hf(dir / "none", dir / "out"); }, "found nothing");
}

}  // namespace
}  // namespace qtune
