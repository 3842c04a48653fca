#include "file_parts.h"
#include "qtune/formats/safetensors.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

constexpr std::string_view kIndex = "model.safetensors.index.json";

/// Three tensors a, b, c of 4 bytes each.
std::vector<TensorToWrite> three_tensors() {
  static const std::string values = "aaaabbbbcccc";
  const auto bytes = std::as_bytes(std::span(values));
  std::vector<TensorToWrite> tensors;
  for (size_t i = 0; i < 3; ++i) {
    tensors.push_back(
        {.name = std::string(1, values[4 * i]), .dtype = Dtype::kU8, .shape = {4}, .values = bytes.subspan(4 * i, 4)});
  }
  return tensors;
}

TEST(ModelWeights, ReadsASingleFile) {
  const ModelWeights weights(std::filesystem::path(QTUNE_TEST_DATA) / "models" / "llama_untied");
  ASSERT_NE(weights.find("lm_head.weight"), nullptr);
  EXPECT_EQ(weights.find("lm_head.weight")->shape, (std::vector<int64_t>{331, 64}));
  EXPECT_EQ(weights.find("lm_head"), nullptr);
}

TEST(ModelWeights, ShardsReadBackAsTheWholeModel) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors(), 8);
  EXPECT_TRUE(std::filesystem::exists(dir / "model-00001-of-00002.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(dir / "model.safetensors"));
  const ModelWeights weights(dir.path());
  ASSERT_EQ(weights.tensors().size(), 3u);
  for (const auto& [name, tensor] : weights.tensors()) {
    EXPECT_EQ(tensor->bytes.size(), 4u);
    EXPECT_EQ(static_cast<char>(tensor->bytes[3]), name[0]);
  }
}

TEST(ModelWeights, ATensorLargerThanAShardGetsItsOwn) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors(), 1);
  EXPECT_TRUE(std::filesystem::exists(dir / "model-00003-of-00003.safetensors"));
  EXPECT_EQ(ModelWeights(dir.path()).tensors().size(), 3u);
}

TEST(ModelWeights, WhatFitsIntoOneShardIsOneFile) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors(), 12);
  EXPECT_EQ(num_entries(dir.path()), 1u);
  EXPECT_TRUE(std::filesystem::exists(dir / "model.safetensors"));
}

TEST(ModelWeights, NewWeightsLeaveNothingOfAnEarlierModel) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors(), 1);
  write_model_weights(dir.path(), three_tensors(), 8);
  EXPECT_EQ(num_entries(dir.path()), 3u) << "two shards and their index";
  write_file_atomic(dir / "modelling-of-notes.txt", "mine");
  write_model_weights(dir.path(), three_tensors(), 12);
  EXPECT_EQ(num_entries(dir.path()), 2u) << "one file, and what is not weights";
  write_model_weights(dir.path(), three_tensors(), 8);
  EXPECT_FALSE(std::filesystem::exists(dir / "model.safetensors")) << "a reader would take it before the shards";
}

TEST(ModelWeights, AFolderWithoutWeightsIsRefused) {
  const TempDir dir;
  expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; }, "found neither ---> give a model folder");
}

TEST(ModelWeights, WeightsOfAnotherKindAreNamedWithTheWayToConvertThem) {
  const std::pair<const char*, const char*> cases[] = {
      {"pytorch_model-00001-of-00002.bin",
       "found \"pytorch_model-00001-of-00002.bin\" ---> save it as safetensors with Python: transformers."},
      {"consolidated.00.pth",
       "found \"consolidated.00.pth\" ---> save it as safetensors with Python: transformers has"},
      {"a.Q8_0.gguf", "found \"a.Q8_0.gguf\" ---> make a folder of it: qtune convert "},
      {"adapter_config.json",
       "found adapter_config.json, a LoRA adapter's ---> give the model below it, and this folder "
       "as the adapter: --model BASE --adapter "},
      {"training_args.bin", "found neither"},
      {"rng_state.pth", "found neither"}};
  for (const auto& [name, part] : cases) {
    const TempDir dir;
    write_bytes(dir / name, "x");
    expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; }, part);
  }
}

TEST(ModelWeights, AMissingShardIsNamed) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors(), 8);
  std::filesystem::remove(dir / "model-00002-of-00002.safetensors");
  expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; },
                                R"(expected the shard "model-00002-of-00002.safetensors")");
  write_bytes(dir / std::string(kIndex), R"({"weight_map":{"a":"b\nc"}})");
  expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; }, R"(expected the shard "b\nc")");
}

TEST(ModelWeights, ATensorNotInItsShardIsNamed) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors(), 8);
  write_bytes(dir / std::string(kIndex), R"({"weight_map":{"c":"model-00001-of-00002.safetensors"}})");
  expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; },
                                "tensor \"c\": expected it in \"model-00001-of-00002");
}

TEST(ModelWeights, AShardOutsideTheFolderIsRefused) {
  const TempDir dir;
  write_model_weights(dir.path(), three_tensors());
  std::filesystem::create_directory(dir / "model");
  for (const char* shard : {"../model.safetensors", "..", "", "/etc/passwd", "x/../../model.safetensors"}) {
    write_bytes(dir / ("model/" + std::string(kIndex)), R"({"weight_map":{"a":")" + std::string(shard) + R"("}})");
    expect_error<CheckpointError>([&] { ModelWeights{dir / "model"}; }, "expected a file of the same folder");
  }
}

TEST(ModelWeights, AnIndexOfTheWrongFormIsRefused) {
  const TempDir dir;
  for (const char* text :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":["x"]}})"}) {
    write_bytes(dir / std::string(kIndex), text);
    expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; }, "index.json: ");
  }
  write_bytes(dir / std::string(kIndex), R"({"weight_map":)" + std::string(1'000'000, '['));
  expect_error<CheckpointError>([&] { ModelWeights{dir.path()}; }, "expected a JSON object");
}

/// Shards of two models must never lie together under one index.
TEST(ModelWeights, AWriteThatFailsLeavesAnEarlierShardedModelWhole) {
  const TempDir dir;
  const auto tensors = [](const std::string& values, size_t last) {
    std::vector<TensorToWrite> list;
    for (const char* name : {"a", "b"}) {
      list.push_back({.name = name, .dtype = Dtype::kU8, .shape = {64}, .values = std::as_bytes(std::span(values))});
    }
    list[1].values = std::as_bytes(std::span(values)).first(last);
    return list;
  };
  const std::string old(64, 'o'), fresh(64, 'f');
  write_model_weights(dir.path(), tensors(old, 64), 64);
  EXPECT_THROW(write_model_weights(dir.path(), tensors(fresh, 63), 64), Error);
  EXPECT_EQ(num_entries(dir.path()), 3u) << "two shards and their index";
  const ModelWeights weights(dir.path());
  for (const char* name : {"a", "b"}) EXPECT_EQ(weights.find(name)->bytes[0], std::byte{'o'}) << name;
}

}  // namespace
}  // namespace qtune
