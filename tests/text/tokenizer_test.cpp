#include "qtune/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "text_cases.h"

namespace qtune {
namespace {

using nlohmann::json;

class Family : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Tokenizer> tokenizer_ = Tokenizer::load_tokenizer(tokenizer_folder(GetParam()));
  std::vector<json> cases_ = read_json_lines(tokenizer_folder(GetParam()) / "cases.jsonl");
};

TEST_P(Family, EncodesAsTheReferenceLibrary) {
  ASSERT_GE(cases_.size(), 250u);
  for (const json& c : cases_) {
    EXPECT_EQ(tokenizer_->encode(c["text"].get<std::string>()), c["ids"].get<std::vector<int32_t>>()) << c["text"];
  }
}

TEST_P(Family, DecodesAsTheReferenceLibrary) {
  for (const json& c : cases_) {
    EXPECT_EQ(tokenizer_->decode(c["ids"].get<std::vector<int32_t>>()), c["decoded"].get<std::string>()) << c["text"];
  }
}

TEST_P(Family, OffsetsComeWithTheSameIdsAndStayInOrderInsideTheText) {
  for (const json& c : cases_) {
    const auto text = c["text"].get<std::string>();
    std::vector<int32_t> ids;
    size_t begin = 0, end = 0;
    for (const TokenSpan& token : tokenizer_->encode_with_offsets(text)) {
      ids.push_back(token.id);
      EXPECT_GE(token.begin, begin) << text;
      EXPECT_GE(token.end, end) << text;
      EXPECT_LE(token.begin, token.end) << text;
      begin = token.begin, end = token.end;
    }
    EXPECT_EQ(ids, c["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(end, text.size());
  }
}

TEST_P(Family, EncodesTheSameFromSeveralThreads) {
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (const json& c : cases_)
        wrong[t] += tokenizer_->encode(c["text"].get<std::string>()) != c["ids"].get<std::vector<int32_t>>();
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Family, testing::Values("smollm2", "llama3", "qwen2", "llama2", "spm"),
                         [](const auto& family) { return family.param; });

TEST(Tokenizer, ByteLevelOffsetsLieEndToEndAndCoverTheText) {
  const auto tokenizer = Tokenizer::load_tokenizer(tokenizer_folder("smollm2"));
  for (const json& c : read_json_lines(tokenizer_folder("smollm2") / "cases.jsonl")) {
    const auto text = c["text"].get<std::string>();
    size_t at = 0;
    for (const TokenSpan& token : tokenizer->encode_with_offsets(text)) {
      EXPECT_EQ(token.begin, at) << text;
      const std::string own = tokenizer->decode(std::vector{token.id});
      if (own.find("\xEF\xBF\xBD") == std::string::npos) {
        EXPECT_EQ(own, text.substr(token.begin, token.end - token.begin));
      }
      at = token.end;
    }
    EXPECT_EQ(at, text.size());
  }
}

TEST(Tokenizer, CharacterThatNfcChangedHasTheOffsetsOfAllItsParts) {
  const auto tokenizer = Tokenizer::load_tokenizer(tokenizer_folder("qwen2"));
  const std::string text =
      "ae\xCC\x81"
      "b";  // a, e + combining acute, b
  const auto tokens = tokenizer->encode_with_offsets(text);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)),
            "a\xC3\xA9"
            "b");
  for (const TokenSpan& token : tokens) {
    if (token.begin == 1) {
      EXPECT_EQ(token.end, 4u);
    }
  }
  EXPECT_EQ(tokens.back().begin, 4u);
}

TEST(Tokenizer, AddedTokensHonourTheirFlagsAsTheReferenceLibraryDoes) {
  json content = read_tokenizer_json("qwen2");
  const std::vector<std::pair<std::string, std::string>> tokens = {
      {"<mask>", "ls"},    {"<r>", "rs"},
      {"<lr>", "lrs"},     {"word", "w"},
      {"ab", "n"},         {"abc", "n"},
      {" x", "n"},         {"\xC3\xA9", "n"},
      {"<w n>", "wn"},     {"<ln>", "ln"},
      {"e\xCC\x81x", "n"}, {"\xE2\x84\xAB", "n"},
      {"<|im", ""},        {"\xE4\xB8\xAD\xE6\x96\x87", "w"},
      {"  ", ""}};
  int id = 2503;
  for (const auto& [text, flags] : tokens) {
    if (content["model"]["vocab"].contains(text)) continue;
    const auto has = [f = flags](char c) { return f.find(c) != std::string::npos; };
    content["added_tokens"].push_back({{"id", id++},
                                       {"content", text},
                                       {"single_word", has('w')},
                                       {"lstrip", has('l')},
                                       {"rstrip", has('r')},
                                       {"normalized", has('n')},
                                       {"special", has('s')}});
  }
  const auto tokenizer = tokenizer_of(content);
  for (const json& c : read_json_lines(test_data("tokenizers") / "added_tokens_cases.jsonl")) {
    EXPECT_EQ(tokenizer->encode(c["text"].get<std::string>()), c["ids"].get<std::vector<int32_t>>()) << c["text"];
  }
}

TEST(Tokenizer, StrippedWhiteSpaceBelongsToOneAddedTokenOnly) {
  json content = read_tokenizer_json("llama3");
  content["added_tokens"].push_back({{"id", 2503}, {"content", "<r>"}, {"rstrip", true}, {"special", true}});
  content["added_tokens"].push_back({{"id", 2504}, {"content", "<l>"}, {"lstrip", true}, {"special", true}});
  const auto tokens = tokenizer_of(content)->encode_with_offsets("<r>  <l>");
  ASSERT_EQ(tokens.size(), 2u);
  EXPECT_EQ(tokens[0].end, 5u);
  EXPECT_EQ(tokens[1].begin, 5u);
}

TEST(Tokenizer, ByteLevelPrefixSpaceIsAddedAsTheReferenceLibraryDoes) {
  json content = read_tokenizer_json("llama3");
  content["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}};
  const auto tokenizer = tokenizer_of(content);
  for (const json& c : read_json_lines(test_data("tokenizers") / "prefix_space_cases.jsonl")) {
    EXPECT_EQ(tokenizer->encode(c["text"].get<std::string>()), c["ids"].get<std::vector<int32_t>>()) << c["text"];
  }
  const auto tokens = tokenizer->encode_with_offsets("Hello");
  EXPECT_EQ(tokens.front().begin, 0u);
  EXPECT_EQ(tokens.back().end, 5u);
}

TEST(Tokenizer, StepsOfOtherTokenizersDoWhatTheReferenceLibraryDoes) {
  const json base = read_tokenizer_json("llama2");
  for (const json& line : read_json_lines(test_data("tokenizers") / "step_cases.jsonl")) {
    json content = base;
    content.update(line["steps"]);
    content["model"].update(line["model"]);
    const auto tokenizer = tokenizer_of(content);
    for (const json& c : line["cases"]) {
      const auto text = c["text"].get<std::string>();
      const auto ids = c["ids"].get<std::vector<int32_t>>();
      EXPECT_EQ(tokenizer->encode(text), ids) << line["name"] << c["text"];
      EXPECT_EQ(tokenizer->decode(ids), c["decoded"].get<std::string>()) << line["name"] << c["text"];
      std::vector<int32_t> with_offsets;
      for (const TokenSpan& token : tokenizer->encode_with_offsets(text)) with_offsets.push_back(token.id);
      EXPECT_EQ(with_offsets, ids) << line["name"] << c["text"];
    }
  }
}

TEST(Tokenizer, NormalizedAddedTokenDecodesToItsNormalizedForm) {
  json content = read_tokenizer_json("llama2");
  const auto id = content["model"]["vocab"].size() + 3;
  content["added_tokens"].push_back({{"id", id}, {"content", "zq zq"}, {"normalized", true}, {"special", false}});
  const auto tokenizer = tokenizer_of(content);
  const auto ids = tokenizer->encode("a zq zq");
  EXPECT_THAT(ids, testing::Contains(static_cast<int32_t>(id)));
  EXPECT_EQ(tokenizer->decode(ids), "a zq zq");
}

TEST(Tokenizer, MergesAreReadInBothOfTheirForms) {
  json content = read_tokenizer_json("llama3");
  const auto pairs = tokenizer_of(content);
  for (json& merge : content["model"]["merges"])
    merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
  const auto strings = tokenizer_of(content);
  const std::string text = "The quick brown fox jumps over 1234 lazy dogs.";
  EXPECT_EQ(pairs->encode(text), strings->encode(text));
}

TEST(Tokenizer, IgnoreMergesTakesAPieceThatIsATokenWhole) {
  const json plain = {
      {"model",
       {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}, {"c", 3}, {"abc", 4}}}, {"merges", {"a b"}}}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}}};
  EXPECT_EQ(tokenizer_of(plain)->encode("abc"), (std::vector<int32_t>{2, 3}));
  json ignoring = plain;
  ignoring["model"]["ignore_merges"] = true;
  EXPECT_EQ(tokenizer_of(ignoring)->encode("abc"), (std::vector<int32_t>{4}));
  EXPECT_EQ(tokenizer_of(ignoring)->encode("ab"), (std::vector<int32_t>{2}));
}

TEST(Tokenizer, LongSEndsAContractionWhereCaseIsIgnored) {
  // the piece '(long s)a would be token 4 whole; the library cuts it behind the long s
  json content = {{"model",
                   {{"type", "BPE"},
                    {"vocab",
                     {{"'", 0},
                      {"\xC3\x85", 1},
                      {"\xC2\xBF", 2},
                      {"a", 3},
                      {"'\xC3\x85\xC2\xBF"
                       "a",
                       4}}},
                    {"merges", json::array()},
                    {"ignore_merges", true}}},
                  {"pre_tokenizer", read_tokenizer_json("llama3")["pre_tokenizer"]},
                  {"decoder", {{"type", "ByteLevel"}}}};
  EXPECT_EQ(tokenizer_of(content)->encode("'\xC5\xBF"
                                          "a"),
            (std::vector<int32_t>{0, 1, 2, 3}));
  content["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  EXPECT_EQ(tokenizer_of(content)->encode("'\xC5\xBF"
                                          "a"),
            (std::vector<int32_t>{0, 1, 2, 3}));
}

TEST(Tokenizer, TwoTokenizersInOneThreadKeepTheirOwnPieces) {
  const auto first = Tokenizer::load_tokenizer(tokenizer_folder("smollm2")),
             second = Tokenizer::load_tokenizer(tokenizer_folder("llama2"));
  const std::string text = "Natalia sold clips to her friends";
  const auto ids = first->encode(text), others = second->encode(text);
  EXPECT_NE(ids, others);
  EXPECT_EQ(first->encode(text), ids);
  EXPECT_EQ(second->encode(text), others);
}

TEST(Tokenizer, TextWithoutAnyBreakIsMergedInReasonableTime) {
  const auto tokenizer = Tokenizer::load_tokenizer(tokenizer_folder("smollm2"));
  const std::string text(200'000, 'a');
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer->encode(text);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  EXPECT_EQ(tokenizer->decode(ids), text);
}

TEST(Tokenizer, BrokenUtf8DecodesToOneReplacementPerMaximalPart) {
  json content = read_tokenizer_json("smollm2");
  const auto tokenizer = tokenizer_of(content);
  const auto ids_of = [&](const std::vector<std::string>& spelled) {
    std::vector<int32_t> ids;
    for (const auto& s : spelled) ids.push_back(tokenizer->token_to_id(s).value());
    return ids;
  };
  // bytes E6 97 | 41: the start of a three-byte character, then a letter; F0 | FF: two parts
  EXPECT_EQ(tokenizer->decode(ids_of({"\xC3\xA6", "\xC4\xB9", "A"})),
            "\xEF\xBF\xBD"
            "A");
  EXPECT_EQ(tokenizer->decode(ids_of({"\xC3\xB0", "\xC3\xBF"})), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Tokenizer, InvalidUtf8IsRefusedWithItsOffset) {
  const auto tokenizer = Tokenizer::load_tokenizer(tokenizer_folder("smollm2"));
  for (const std::string text : {"ab\xFF", "ab\xE6\x97", "ab\xED\xA0\x80", "ab\xC0\xAF", "ab\xF4\x90\x80\x80"}) {
    try {
      tokenizer->encode(text);
      FAIL() << "encoded broken text";
    } catch (const std::exception& e) {
      EXPECT_NE(std::string(e.what()).find("offset 2"), std::string::npos) << e.what();
    }
  }
}

TEST(Tokenizer, TokensAndIdsAreFoundBothWays) {
  const auto tokenizer = Tokenizer::load_tokenizer(tokenizer_folder("smollm2"));
  EXPECT_EQ(tokenizer->token_to_id("<|im_end|>"), 2);
  EXPECT_EQ(tokenizer->id_to_token(2), "<|im_end|>");
  EXPECT_EQ(tokenizer->token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(-1), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(2000), std::nullopt);
  EXPECT_EQ(tokenizer->vocab_size(), 2000);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{-5, 2, 1 << 30}), "<|im_end|>");
}

}  // namespace
}  // namespace qtune
