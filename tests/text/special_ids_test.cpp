#include "qtune/text/special_ids.h"

#include <gtest/gtest.h>

#include "qtune/base/file.h"
#include "support/byte_tokenizer.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using Texts = std::map<int32_t, std::string>;

TEST(SpecialIds, ComeFromTheListOfTokenizerConfig) {
  const TempDir folder;
  write_file_atomic(folder / "tokenizer_config.json", R"({"added_tokens_decoder": {
    "1": {"content": "<s>", "special": true}, "2": {"content": "</s>", "special": true},
    "9": {"content": "<think>", "special": false}, "x": {"content": "odd", "special": true}},
    "bos_token": {"content": "<s>"}, "add_bos_token": true})");
  const SpecialIds special = read_special_ids(folder.path(), nullptr);
  EXPECT_EQ(special.texts, (Texts{{1, "<s>"}, {2, "</s>"}}));
  EXPECT_EQ(special.bos, 1);
  EXPECT_TRUE(special.contains(2));
  EXPECT_FALSE(special.contains(9));
}

TEST(SpecialIds, ComeFromTokenizerJsonWhereTheConfigHasNoList) {
  const TempDir folder;
  write_byte_tokenizer(folder.path());
  const SpecialIds special = read_special_ids(folder.path(), nullptr);
  EXPECT_EQ(special.texts, (Texts{{256, "<|im_start|>"}, {kImEndId, "<|im_end|>"}}));
  EXPECT_EQ(special.bos, std::nullopt);
}

TEST(SpecialIds, NamedByTextOnlyTheTokenizerKnowsTheirIds) {
  const TempDir folder;
  write_byte_tokenizer(folder.path());
  write_file_atomic(folder / "tokenizer_config.json", "{}");
  write_file_atomic(folder / "special_tokens_map.json",
                    R"({"bos_token": "A", "eos_token": {"content": "B"}, "pad_token": "nowhere"})");
  EXPECT_EQ(read_special_ids(folder.path(), nullptr).bos, std::nullopt);
  const auto tokenizer = Tokenizer::load_tokenizer(folder.path());
  const SpecialIds special = read_special_ids(folder.path(), tokenizer.get());
  EXPECT_EQ(special.texts.size(), 4U) << "and the two of tokenizer.json";
  ASSERT_TRUE(special.bos);
  EXPECT_EQ(special.texts.at(*special.bos), "A");
}

TEST(SpecialIds, FilesThatAreMissingOrOddGiveNone) {
  const TempDir folder;
  EXPECT_TRUE(read_special_ids(folder.path(), nullptr).texts.empty());
  for (const char* text : {"", "[]", "{\"added_tokens_decoder\": 3, \"bos_token\": []}",
                           "{\"added_tokens_decoder\": "
                           "{\"99999999999\": {\"content\": \"a\", \"special\": true}, \"1\": [], \"2\": null}}"}) {
    for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "tokenizer.json"})
      write_file_atomic(folder / name, text);
    EXPECT_TRUE(read_special_ids(folder.path(), nullptr).texts.empty()) << text;
  }
}

class TextStart : public testing::Test {
 protected:
  TextStart() {
    write_byte_tokenizer(folder_.path());
    tokenizer_ = Tokenizer::load_tokenizer(folder_.path());
  }
  void write_post_processor(const std::string& json) const {
    write_file_atomic(folder_ / "tokenizer.json", R"({"model": {"vocab": {}}, "post_processor": )" + json + "}");
  }
  std::optional<int32_t> found() const { return read_text_start(folder_.path(), *tokenizer_); }

  TempDir folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TextStart, IsWhatThePostProcessorPutsInFront) {
  EXPECT_EQ(found(), std::nullopt);
  const std::string adds =
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
          {"Sequence": {"id": "A", "type_id": 0}}]})";
  write_post_processor(adds);
  EXPECT_EQ(found(), 256);
  write_post_processor(R"({"type": "Sequence", "processors": [{"type": "ByteLevel"}, )" + adds + "]}");
  EXPECT_EQ(found(), 256) << "Llama 3's form";
  write_post_processor(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}]})");
  EXPECT_EQ(found(), std::nullopt);
  for (const char* odd : {"null", "[]", "3", R"({"processors": 3})", R"({"type": "TemplateProcessing", "single": [3]})",
                          R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": 3}}]})",
                          R"({"processors": [{"processors": [{"processors": []}]}, 3]})"}) {
    write_post_processor(odd);
    EXPECT_EQ(found(), std::nullopt) << odd;
  }
}

TEST_F(TextStart, TokenizerConfigHasTheLastWord) {
  write_file_atomic(folder_ / "tokenizer_config.json", R"({"bos_token": "<|im_end|>"})");
  EXPECT_EQ(found(), std::nullopt) << "a name alone adds nothing";
  write_file_atomic(folder_ / "tokenizer_config.json", R"({"bos_token": "<|im_end|>", "add_bos_token": true})");
  EXPECT_EQ(found(), kImEndId);
  write_file_atomic(folder_ / "tokenizer_config.json", R"({"bos_token": "<|im_end|>", "add_bos_token": false})");
  write_post_processor(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}]})");
  EXPECT_EQ(found(), std::nullopt);
}

TEST_F(TextStart, SentencepieceAloneAddsItsBos) {
  std::filesystem::remove(folder_ / "tokenizer.json");
  write_file_atomic(folder_ / "tokenizer_config.json", R"({"bos_token": "<|im_start|>"})");
  EXPECT_EQ(found(), 256);
}

}  // namespace
}  // namespace qtune
