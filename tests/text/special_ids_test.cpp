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

}  // namespace
}  // namespace qtune
