// Random damage to good files: reading them must end in a qtune::Error or in a model, never in a crash or in memory out
// of proportion to the file (the sanitizer build watches). Seeds are fixed, so that a failure comes back.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "file_parts.h"
#include "gguf_builder.h"
#include "qtune/base/file.h"
#include "qtune/base/rng.h"
#include "qtune/formats/convert.h"
#include "qtune/formats/safetensors.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

/// One to four changes: a byte, a bit, a 64-bit number at the edge of its range, a piece cut out or doubled, a cut
/// tail.
std::string damage(std::string bytes, CounterRng& rng) {
  constexpr uint64_t kEdges[] = {
      0, 1, 0x7f, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~uint64_t{0}};
  for (uint64_t changes = 1 + rng.next_below(4); changes > 0 && bytes.size() > 8; --changes) {
    const size_t at = rng.next_below(bytes.size() - 8);
    const size_t length = std::min<size_t>(1 + rng.next_below(40), bytes.size() - at);
    switch (rng.next_below(6)) {
      case 0:
        bytes[at] = static_cast<char>(rng.next());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.next_below(8)));
        break;
      case 2:
        std::memcpy(bytes.data() + at, &kEdges[rng.next_below(std::size(kEdges))], 8);
        break;
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(at, bytes.substr(at, length));
        break;
      default:
        if (rng.next_below(8) == 0) bytes.resize(at);
    }
  }
  return bytes;
}

/// Every byte in turn set to each of a few values.
template <class Try>
void try_every_byte(const std::string& good, Try attempt) {
  for (size_t i = 0; i < good.size(); ++i) {
    for (const int value : {0, 0xff, good[i] ^ 1}) {
      std::string bytes = good;
      bytes[i] = static_cast<char>(value);
      attempt(bytes);
    }
  }
}

/// Counts how reading ends; anything but success or a qtune::Error of one line fails the test.
class Reader {
 public:
  template <class Read>
  void run(const std::string& bytes, Read read) {
    write_bytes(path_, bytes);
    try {
      read(path_);
      ++num_read_;
    } catch (const Error& error) {
      ++num_refused_;
      if (std::string_view(error.what()).find('\n') != std::string_view::npos) ADD_FAILURE() << error.what();
    }
  }
  /// Both ends must occur, else the damage tests nothing.
  ~Reader() {
    EXPECT_GT(num_read_, 0);
    EXPECT_GT(num_refused_, 0);
  }
  const TempDir& dir() const { return dir_; }

 private:
  TempDir dir_;
  std::filesystem::path path_ = dir_ / "damaged";
  int num_read_ = 0, num_refused_ = 0;
};

void read_all_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  for (const TensorView& tensor : file.tensors()) {
    if (!is_floating(tensor.dtype)) continue;
    std::vector<float> values(tensor.bytes.size() / dtype_size(tensor.dtype));
    to_floats(tensor.bytes, tensor.dtype, values);
  }
}

void read_all_gguf(const std::filesystem::path& path) {
  const GgufFile file(path);
  for (const GgufTensor& tensor : file.tensors()) {
    std::vector<float> row(static_cast<size_t>(tensor.num_columns()));
    for (int64_t i = 0; i < tensor.num_rows(); ++i) dequantize_rows(tensor, i, 1, row);
  }
  for (const char* key : {"tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
    if (const auto texts = file.texts(key)) {
      EXPECT_LE(texts->size(), std::filesystem::file_size(path));
    }
  }
}

std::string small_safetensors() {
  return safetensors_bytes(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}})",
                           14);
}

TEST(Mutation, SafetensorsWithOneWrongByte) {
  Reader reader;
  try_every_byte(small_safetensors(), [&](const std::string& bytes) { reader.run(bytes, read_all_safetensors); });
}

TEST(Mutation, SafetensorsDamagedAtRandom) {
  Reader reader;
  CounterRng rng(1, 0);
  for (int i = 0; i < 3000; ++i) reader.run(damage(small_safetensors(), rng), read_all_safetensors);
}

TEST(Mutation, GgufWithOneWrongByte) {
  Reader reader;
  const std::string good = small_llama().build();
  try_every_byte(good, [&](const std::string& bytes) { reader.run(bytes, read_all_gguf); });
}

TEST(Mutation, GgufDamagedAtRandom) {
  Reader reader;
  CounterRng rng(2, 0);
  const std::string good = read_file(std::filesystem::path(QTUNE_TEST_DATA) / "gguf" / "tiny.gguf").substr(0, 4000);
  const std::string small = small_llama().build();
  for (int i = 0; i < 2000; ++i) reader.run(damage(i % 2 == 0 ? good : small, rng), read_all_gguf);
}

TEST(Mutation, AConvertedGgufDamagedAtRandomLeavesAFolderOrNothing) {
  Reader reader;
  CounterRng rng(3, 0);
  const std::string good = small_llama().build();
  for (int i = 0; i < 200; ++i) {
    const std::filesystem::path out = reader.dir() / fmt::format("out{}", i);
    reader.run(damage(good, rng), [&](const std::filesystem::path& path) { convert_gguf_to_hf(path, out); });
    if (std::filesystem::exists(out)) {
      EXPECT_EQ(num_entries(out), 5u);
      std::filesystem::remove_all(out);
    }
    EXPECT_EQ(num_entries(reader.dir().path()), 1u) << "only the damaged file is left";
  }
}

}  // namespace
}  // namespace qtune
