#include "qtune/formats/gguf.h"

#include <algorithm>
#include <set>

#include "file_parts.h"
#include "gguf_builder.h"
#include "qtune/formats/safetensors.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

const std::filesystem::path kData = std::filesystem::path(QTUNE_TEST_DATA) / "gguf";

TEST(Gguf, ReadsMetadataByType) {
  const GgufFile file(kData / "tiny.gguf");
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("llama.block_count"), 2);
  EXPECT_EQ(file.number("llama.rope.freq_base"), 50000.0);
  EXPECT_EQ(file.number("llama.block_count"), 2.0);
  ASSERT_TRUE(file.texts("tokenizer.ggml.merges"));
  EXPECT_EQ(file.texts("tokenizer.ggml.merges")->back(), "\xc4\xa0 ab");
  EXPECT_EQ(file.integers("tokenizer.ggml.token_type")->at(3), 4);
  EXPECT_EQ(file.text("no.such.key"), std::nullopt);
  EXPECT_EQ(file.texts("no.such.key"), std::nullopt);
  EXPECT_FALSE(file.has("no.such.key"));
}

TEST(Gguf, AValueOfAnotherTypeIsAnErrorNamingTheKey) {
  const GgufFile file(kData / "tiny.gguf");
  expect_error<CheckpointError>([&] { file.integer("general.architecture"); },
                                "metadata \"general.architecture\": expected an integer");
  expect_error<CheckpointError>([&] { file.integer("llama.rope.freq_base"); }, "expected an integer");
  expect_error<CheckpointError>([&] { file.text("llama.block_count"); }, "expected text");
  expect_error<CheckpointError>([&] { file.boolean("llama.block_count"); }, "expected true or false");
  expect_error<CheckpointError>([&] { file.number("tokenizer.ggml.tokens"); }, "expected a single value");
  expect_error<CheckpointError>([&] { file.texts("llama.block_count"); }, "expected an array");
  expect_error<CheckpointError>([&] { file.texts("tokenizer.ggml.token_type"); }, "expected an array of texts");
  expect_error<CheckpointError>([&] { file.integers("tokenizer.ggml.tokens"); }, "expected an array of integers");
}

TEST(Gguf, EveryIntegerTypeIsRead) {
  const TempDir dir;
  GgufBuilder builder;
  builder.raw("u8", 0, "\xff").raw("i8", 1, "\xff").raw("u16", 2, "\xfe\xff").raw("i16", 3, "\xfe\xff");
  builder.raw("i32", 5, std::string(4, '\xff')).raw("bool", 7, "\x01");
  builder.raw("u64", 10, std::string(8, '\xff')).raw("i64", 11, std::string(8, '\xff'));
  builder.raw("f64", 12, std::string("\0\0\0\0\0\0\xf8\x3f", 8));
  write_bytes(dir / "t.gguf", builder.build());
  const GgufFile file(dir / "t.gguf");
  EXPECT_EQ(file.integer("u8"), 255);
  EXPECT_EQ(file.integer("i8"), -1);
  EXPECT_EQ(file.integer("u16"), 65534);
  EXPECT_EQ(file.integer("i16"), -2);
  EXPECT_EQ(file.integer("i32"), -1);
  EXPECT_EQ(file.integer("i64"), -1);
  EXPECT_EQ(file.number("f64"), 1.5);
  EXPECT_EQ(file.boolean("bool"), true);
  expect_error<CheckpointError>([&] { file.integer("u64"); }, "expected an integer of 63 bits");
}

TEST(Gguf, VersionTwoIsRead) {
  const TempDir dir;
  write_bytes(dir / "t.gguf", small_llama().build(2));
  EXPECT_EQ(GgufFile(dir / "t.gguf").tensors().size(), 11u);
}

TEST(Gguf, DimensionsAreReversed) {
  const GgufFile file(kData / "tiny.gguf");
  const auto found = std::find_if(file.tensors().begin(), file.tensors().end(),
                                  [](const GgufTensor& tensor) { return tensor.name == "blk.0.ffn_down.weight"; });
  ASSERT_NE(found, file.tensors().end());
  EXPECT_EQ(found->shape, (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(found->num_columns(), 64);
  EXPECT_EQ(found->num_rows(), 32);
}

/// GGUF name -> name in expected.safetensors, for tensors whose rows keep their order.
std::string expected_name(const std::string& name) {
  if (name == "output.weight") return "lm_head.weight";
  if (name == "token_embd.weight") return "model.embed_tokens.weight";
  for (const auto& [left, right] : {std::pair{"attn_v", "self_attn.v_proj"},
                                    {"attn_output", "self_attn.o_proj"},
                                    {"ffn_gate", "mlp.gate_proj"},
                                    {"ffn_up", "mlp.up_proj"},
                                    {"ffn_down", "mlp.down_proj"}}) {
    if (name.find(left) != std::string::npos) return "model.layers." + name.substr(4, 1) + "." + right + ".weight";
  }
  return "";
}

TEST(Gguf, EveryTypeDequantisesToTheBitsOfTheReferencePackage) {
  const GgufFile file(kData / "tiny.gguf");
  const SafetensorsFile expected(kData / "expected.safetensors");
  std::set<std::string_view> types;
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string name = expected_name(tensor.name);
    if (name.empty()) continue;
    std::vector<float> values(static_cast<size_t>(tensor.num_rows() * tensor.num_columns()));
    dequantize_rows(tensor, 0, tensor.num_rows(), values);
    const std::span<const std::byte> bytes = expected.at(name).bytes;
    ASSERT_EQ(bytes.size(), values.size() * sizeof(float)) << tensor.name;
    EXPECT_EQ(std::memcmp(values.data(), bytes.data(), bytes.size()), 0) << tensor.name;
    types.insert(ggml_type_name(tensor.type));
  }
  EXPECT_EQ(types, (std::set<std::string_view>{"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q8_0"}));
}

TEST(Gguf, RowsCanBeReadOneByOne) {
  const GgufFile file(kData / "tiny.gguf");
  for (const GgufTensor& tensor : file.tensors()) {
    const auto columns = static_cast<size_t>(tensor.num_columns());
    std::vector<float> whole(static_cast<size_t>(tensor.num_rows()) * columns), row(columns);
    dequantize_rows(tensor, 0, tensor.num_rows(), whole);
    dequantize_rows(tensor, tensor.num_rows() - 1, 1, row);
    EXPECT_TRUE(std::equal(row.begin(), row.end(), whole.end() - static_cast<ptrdiff_t>(columns))) << tensor.name;
    EXPECT_THROW(dequantize_rows(tensor, tensor.num_rows(), 1, row), Error);
    EXPECT_THROW(dequantize_rows(tensor, -1, 1, row), Error);
    EXPECT_THROW(dequantize_rows(tensor, 0, 2, row), Error);
  }
}

}  // namespace
}  // namespace qtune
