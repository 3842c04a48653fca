#include "qtune/formats/safetensors.h"

#include <sys/resource.h>

#include <csignal>

#include "file_parts.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

const std::filesystem::path kModels = std::filesystem::path(QTUNE_TEST_DATA) / "models";

std::span<const std::byte> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::vector<TensorToWrite> to_write(const SafetensorsFile& file) {
  std::vector<TensorToWrite> tensors;
  for (const TensorView& tensor : file.tensors()) {
    tensors.push_back({.name = tensor.name, .dtype = tensor.dtype, .shape = tensor.shape, .values = tensor.bytes});
  }
  return tensors;
}

TEST(Safetensors, ReadsAFileOfTheReferenceLibrary) {
  const SafetensorsFile file(kModels / "llama_tied" / "expected.safetensors");
  EXPECT_EQ(file.metadata().at("made_with"), "torch 2.11.0+cu130");
  const TensorView& ids = file.at("input_ids");
  EXPECT_EQ(ids.dtype, Dtype::kI64);
  EXPECT_EQ(ids.shape, (std::vector<int64_t>{3, 60}));
  EXPECT_EQ(ids.bytes.size(), 3u * 60 * 8);
  EXPECT_EQ(file.at("nll").dtype, Dtype::kF64);
  EXPECT_EQ(file.find("no such tensor"), nullptr);
}

TEST(Safetensors, WrittenAnewAReferenceFileKeepsEveryByte) {
  for (const char* name :
       {"llama_tied/model.safetensors", "llama_tied/expected.safetensors", "llama_untied/model.safetensors"}) {
    const TempDir dir;
    const SafetensorsFile file(kModels / name);
    std::vector<TensorToWrite> tensors = to_write(file);
    std::reverse(tensors.begin(), tensors.end());
    write_safetensors(dir / "copy.safetensors", std::move(tensors), file.metadata());
    EXPECT_EQ(read_file(dir / "copy.safetensors"), read_file(kModels / name)) << name;
  }
}

TEST(Safetensors, ValuesMadePieceByPieceAreWritten) {
  const TempDir dir;
  const auto two_pieces = [](const ByteSink& sink) {
    sink(as_bytes("abc"));
    sink(as_bytes("d"));
  };
  write_safetensors(dir / "t.safetensors", {{.name = "x", .dtype = Dtype::kF32, .shape = {1}, .values = two_pieces}});
  const SafetensorsFile file(dir / "t.safetensors");
  EXPECT_EQ(std::memcmp(file.at("x").bytes.data(), "abcd", 4), 0);
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
}

TEST(Safetensors, ScalarsEmptyTensorsAndNoTensorsAtAllAreRead) {
  const TempDir dir;
  write_safetensors(dir / "none.safetensors", {});
  EXPECT_TRUE(SafetensorsFile(dir / "none.safetensors").tensors().empty());
  write_safetensors(dir / "some.safetensors",
                    {{.name = "empty", .dtype = Dtype::kF32, .shape = {0, 3}, .values = as_bytes("")},
                     {.name = "scalar", .dtype = Dtype::kF32, .shape = {}, .values = as_bytes("abcd")}});
  const SafetensorsFile file(dir / "some.safetensors");
  EXPECT_EQ(file.at("empty").bytes.size(), 0u);
  EXPECT_EQ(file.at("scalar").bytes.size(), 4u);
}

TEST(Safetensors, TensorsOfOneNameOrOfTheWrongSizeAreNotWritten) {
  const TempDir dir;
  const TensorToWrite good{.name = "x", .dtype = Dtype::kF32, .shape = {1}, .values = as_bytes("abcd")};
  TensorToWrite small = good;
  small.values = as_bytes("abc");
  expect_error<Error>([&] { write_safetensors(dir / "t.safetensors", {good, good}); }, "two tensors named \"x\"");
  expect_error<Error>([&] { write_safetensors(dir / "t.safetensors", {small}); },
                      "expected 4 bytes for shape [1], found 3");
  EXPECT_EQ(num_entries(dir.path()), 0u);
}

TEST(Safetensors, AFullDiskLeavesNothingHalfWritten) {
  const TempDir dir;
  write_bytes(dir / "model.safetensors", "old");
  const std::string values(1 << 16, 'v');
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  // A limit on file size fails the write as a full disk does, and needs no disk to fill.
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    write_safetensors(dir / "model.safetensors",
                      {{.name = "x", .dtype = Dtype::kU8, .shape = {1 << 16}, .values = as_bytes(values)}});
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, testing::HasSubstr("model.safetensors: cannot write: "));
  EXPECT_EQ(read_file(dir / "model.safetensors"), "old");
  EXPECT_EQ(num_entries(dir.path()), 1u);
}

}  // namespace
}  // namespace qtune
