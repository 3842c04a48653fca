// Random damage to good files: reading them must end in a qtune::Error or in a model, never in a crash or in memory out
// of proportion to the file (the sanitizer build watches). Seeds are fixed, so that a failure comes back.
#include <fmt/format.h>

#include "file_parts.h"
#include "fuzz/use_files.h"
#include "gguf_builder.h"
#include "qtune/base/file.h"
#include "qtune/formats/convert.h"
#include "support/damage.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

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

std::string small_safetensors() {
  return safetensors_bytes(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
                           R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[8,14]}})",
                           14);
}

TEST(Mutation, SafetensorsWithOneWrongByte) {
  Reader reader;
  try_every_byte(small_safetensors(), [&](const std::string& bytes) { reader.run(bytes, fuzz::use_safetensors); });
}

TEST(Mutation, SafetensorsDamagedAtRandom) {
  Reader reader;
  CounterRng rng(1, 0);
  for (int i = 0; i < 3000; ++i) reader.run(damage(small_safetensors(), rng), fuzz::use_safetensors);
}

TEST(Mutation, GgufWithOneWrongByte) {
  Reader reader;
  const std::string good = small_llama().build();
  try_every_byte(good, [&](const std::string& bytes) { reader.run(bytes, fuzz::use_gguf); });
}

TEST(Mutation, GgufDamagedAtRandom) {
  Reader reader;
  CounterRng rng(2, 0);
  const std::string good = read_file(std::filesystem::path(QTUNE_TEST_DATA) / "gguf" / "tiny.gguf").substr(0, 4000);
  const std::string small = small_llama().build();
  for (int i = 0; i < 2000; ++i) reader.run(damage(i % 2 == 0 ? good : small, rng), fuzz::use_gguf);
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
