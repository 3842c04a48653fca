#include "qtune/formats/tokenizer_files.h"

#include "file_parts.h"
#include "qtune/base/file.h"
#include "qtune/formats/convert.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

/// A fixture's model with files of a tokenizer beside it, and with others.
class TokenizerFiles : public testing::Test {
 protected:
  TokenizerFiles() {
    fs::copy(fs::path(QTUNE_TEST_DATA) / "models/llama_tied", in_);
    fs::create_directory(in_ / "additional_chat_templates");
    for (const char* name : kTokenizer) write_file_atomic(in_ / name, name);
    for (const char* name : {"pytorch_model.bin", "additional_chat_templates/notes.bin"}) write_bytes(in_ / name, "x");
  }

  static constexpr const char* kTokenizer[] = {"additional_chat_templates/rag.jinja",
                                               "additional_chat_templates/tool_use.jinja",
                                               "chat_template.jinja",
                                               "tokenizer.json",
                                               "tokenizer.model.v3",
                                               "tokenizer.model.v7m1"};
  TempDir dir_;
  fs::path in_ = dir_ / "in", out_ = dir_ / "out";
};

TEST_F(TokenizerFiles, AreThoseWithKnownNamesVersionsAndTemplates) {
  EXPECT_EQ(tokenizer_files(in_), std::vector<fs::path>(std::begin(kTokenizer), std::end(kTokenizer)));
  EXPECT_TRUE(tokenizer_files(dir_ / "none").empty());
}

// Mistral's tokenizer.model.v3 and named templates stayed behind.
TEST_F(TokenizerFiles, ComeAlongWithAConversion) {
  convert_hf_to_hf(in_, out_);
  for (const char* name : kTokenizer) EXPECT_EQ(read_file(out_ / name), name);
  EXPECT_TRUE(fs::exists(out_ / "generation_config.json"));
  EXPECT_FALSE(fs::exists(out_ / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(out_ / "additional_chat_templates/notes.bin"));
}

TEST_F(TokenizerFiles, StayAsTheyAreInTheSameFolder) {
  carry_over("tokenizer.json", in_, in_);
  EXPECT_EQ(read_file(in_ / "tokenizer.json"), "tokenizer.json");
  carry_over("additional_chat_templates/rag.jinja", in_, out_);
  EXPECT_EQ(num_entries(out_), 1u);
}

}  // namespace
}  // namespace qtune
