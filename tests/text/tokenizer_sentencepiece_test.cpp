// tokenizer.model files: held against the sentencepiece library itself, and files that must be refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"
#include "text_cases.h"

namespace qtune {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

constexpr int kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kByte = 6;
constexpr int kUnigram = 1, kBpe = 2;

std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  return out + static_cast<char>(value);
}

std::string bytes_field(int number, const std::string& content) {
  return varint(static_cast<uint64_t>(number) << 3 | 2) + varint(content.size()) + content;
}

std::string number_field(int number, uint64_t value) {
  return varint(static_cast<uint64_t>(number) << 3) + varint(value);
}

std::string piece(const std::string& text, float score, int kind) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return bytes_field(1,
                     bytes_field(1, text) + varint(2 << 3 | 5) + bits + number_field(3, static_cast<uint64_t>(kind)));
}

/// Ids: 0 <unk>, 1 <s>, 2 </s>, 3 [INST], 4.. the 256 bytes, then what is given.
std::string special_pieces() {
  std::string out = piece("<unk>", 0, kUnknown) + piece("<s>", 0, kControl) + piece("</s>", 0, kControl) +
                    piece("[INST]", 0, kControl);
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", b);
    out += piece(name, 0, kByte);
  }
  return out;
}

std::string specs(int algorithm, const std::string& charsmap = "") {
  return bytes_field(2, number_field(3, static_cast<uint64_t>(algorithm)) + number_field(35, 1)) +
         bytes_field(3, bytes_field(2, charsmap) + number_field(3, 1) + number_field(4, 0) + number_field(5, 1));
}

// 260 _ , 261 h, 262 i, 263 _h, 264 hi, 265 _hi
std::string small_model(int algorithm = kBpe) {
  std::string out = special_pieces();
  float score = -1;
  for (const char* text : {"\xE2\x96\x81", "h", "i", "\xE2\x96\x81h", "hi", "\xE2\x96\x81hi"})
    out += piece(text, score--, kNormal);
  return out + specs(algorithm);
}
constexpr int32_t kSpace = 260, kHi = 264, kSpaceHi = 265;

std::unique_ptr<Tokenizer> load(const std::string& model, const json& config = nullptr, const json& added = nullptr) {
  TempDir folder;
  write_text(folder / "tokenizer.model", model);
  if (!config.is_null()) write_text(folder / "tokenizer_config.json", config.dump());
  if (!added.is_null()) write_text(folder / "added_tokens.json", added.dump());
  return Tokenizer::load_tokenizer(folder.path());
}

std::string refusal_of(const std::string& model, const json& config = nullptr, const json& added = nullptr) {
  try {
    load(model, config, added);
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "accepted";
}

TEST(SentencePiece, PiecesThatAreCutAndRememberedGetTheIdsOfTheWholeText) {
  const std::string file = (tokenizer_folder("spm") / "tokenizer.model").string();
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load(file).ok());
  const auto tokenizer = Tokenizer::load_tokenizer(tokenizer_folder("spm"));
  const std::vector<std::string> parts = {"a",
                                          "b",
                                          " ",
                                          "  ",
                                          "the",
                                          "\n",
                                          "1",
                                          "23",
                                          ".",
                                          "\xE2\x96\x81",
                                          "\xC3\xA9",
                                          "\xE6\x9D\xB1",
                                          "\xF0\x9F\x99\x82",
                                          std::string(1, '\0'),
                                          "$",
                                          "clips",
                                          "\x01"};
  CounterRng rng(3, 0);
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (uint64_t n = rng.next_below(30); n > 0; --n) text += parts[rng.next_below(parts.size())];
    std::vector<int> expected;
    ASSERT_TRUE(library.Encode(text, &expected).ok());
    ASSERT_EQ(tokenizer->encode(text), Ids(expected.begin(), expected.end())) << json(text);
    std::string decoded;
    ASSERT_TRUE(library.Decode(expected, &decoded).ok());
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), decoded);
  }
}

TEST(SentencePiece, UnigramModelsAreRead) {
  EXPECT_EQ(load(small_model(kUnigram))->encode("hi hi"), (Ids{kSpaceHi, kSpaceHi}));
}

TEST(SentencePiece, TokenizerJsonWinsOverTokenizerModel) {
  TempDir folder;
  write_text(folder / "tokenizer.model", "nonsense");
  write_text(folder / "tokenizer.json", read_tokenizer_json("smollm2").dump());
  EXPECT_EQ(Tokenizer::load_tokenizer(folder.path())->vocab_size(), 2000);
}

TEST(SentencePiece, ControlSymbolsInTheTextAreRecognisedAndWrittenOut) {
  const auto tokenizer = load(small_model());
  const Ids ids = {1, 3, kSpaceHi, 2, kHi};
  EXPECT_EQ(tokenizer->encode("<s>[INST] hi</s>hi"), ids);
  EXPECT_EQ(tokenizer->decode(ids), "<s>[INST] hi</s>hi");
  EXPECT_EQ(tokenizer->decode(Ids{kSpaceHi, kSpaceHi}), "hi hi");
}

TEST(SentencePiece, PrefixSpaceIsWhereTheConfigSays) {
  const std::string text = "hi</s>hi";
  EXPECT_EQ(load(small_model())->encode(text), (Ids{kSpaceHi, 2, kHi}));
  EXPECT_EQ(load(small_model(), {{"legacy", true}})->encode(text), (Ids{kSpaceHi, 2, kSpaceHi}));
  EXPECT_EQ(load(small_model(), {{"add_prefix_space", false}})->encode(text), (Ids{kHi, 2, kHi}));
  EXPECT_EQ(load(small_model(), {{"legacy", nullptr}})->encode(" hi"), (Ids{kSpace, kSpaceHi}));
}

TEST(SentencePiece, UnknownPieceIsASpecialTokenOnlyWhereTheConfigListsIt) {
  const auto plain = load(small_model());
  EXPECT_EQ(plain->encode("<unk>").size(), 6u);
  EXPECT_EQ(plain->decode(Ids{0}), " \xE2\x81\x87 ");
  const auto listed = load(small_model(), {{"added_tokens_decoder", {{"0", {{"content", "<unk>"}}}}}});
  EXPECT_EQ(listed->encode("<unk>"), (Ids{0}));
  EXPECT_EQ(listed->decode(Ids{0}), "<unk>");
}

TEST(SentencePiece, TokensOfTheFilesBesideTheModelAreAdded) {
  const auto tokenizer =
      load(small_model(), {{"added_tokens_decoder", {{"266", {{"content", "<|end|>"}, {"rstrip", true}}}}}},
           {{"<|end|>", 266}, {"<|im_start|>", 268}});
  EXPECT_EQ(tokenizer->encode("hi<|end|> \n<|im_start|>hi"), (Ids{kSpaceHi, 266, 268, kHi}));
  EXPECT_EQ(tokenizer->decode(Ids{266, 267, 268}), "<|end|><|im_start|>");
  EXPECT_EQ(tokenizer->id_to_token(267), std::nullopt);
  EXPECT_EQ(tokenizer->token_to_id("<|im_start|>"), 268);
  EXPECT_EQ(tokenizer->vocab_size(), 269);
}

TEST(SentencePiece, ReservedSymbolMayBeRenamed) {
  const auto tokenizer = load(small_model(), {{"added_tokens_decoder", {{"3", {{"content", "<|user|>"}}}}}});
  EXPECT_EQ(tokenizer->encode("<|user|>"), (Ids{3}));
  EXPECT_EQ(tokenizer->decode(Ids{3}), "<|user|>");
  EXPECT_EQ(tokenizer->token_to_id("[INST]"), std::nullopt);
}

TEST(SentencePiece, OffsetsLeaveOutThePrefixAndDivideCharactersIntoTheirBytes) {
  const auto tokenizer = load(small_model());
  const auto tokens = tokenizer->encode_with_offsets("hi \xC3\xA9</s>hi");
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const TokenSpan& token : tokens) ranges.emplace_back(token.begin, token.end);
  EXPECT_EQ(ranges, (std::vector<std::pair<size_t, size_t>>{{0, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 9}, {9, 11}}));
}

TEST(SentencePiece, FaultyFilesAreRefusedWithTheirReason) {
  const std::string good = special_pieces() + specs(kBpe);
  ASSERT_EQ(refusal_of(good), "accepted");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::pair<std::string, const char*> wrong[] = {
      {"", "no pieces"},
      {"not a model", "sentencepiece model"},
      {specs(kBpe), "no pieces"},
      {piece("a", 0, kNormal), "one unknown piece, found 0"},
      {good + piece("<unk2>", 0, kUnknown), "one unknown piece, found 2"},
      {good + piece("<s>", 0, kNormal), "there twice"},
      {good + piece("", 0, kNormal), "piece 260"},
      {good + piece("\xFF", 0, kNormal), "piece 260"},
      {good + piece("x", nan, kNormal), "finite score"},
      {good + piece("x", 0, 9), "type from 1 to 6"},
      {good + piece("<0x1>", 0, kByte), "refuses"},
      {good + bytes_field(2, number_field(3, 7)), "model_type"},
      {good.substr(0, good.size() - 3), "cut off"},
      {piece("<unk>", 0, kUnknown) + specs(kBpe), "refuses"},  // byte_fallback without bytes
  };
  for (const auto& [model, reason] : wrong) {
    const std::string message = refusal_of(model);
    EXPECT_THAT(message, HasSubstr("tokenizer.model: ")) << reason;
    EXPECT_THAT(message, HasSubstr(reason));
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(SentencePiece, FaultyFilesBesideTheModelAreRefusedByName) {
  const json decoder = {{"added_tokens_decoder", {{"264", {{"content", "<x>"}}}}}};
  EXPECT_THAT(refusal_of(small_model(), decoder), HasSubstr("\"<x>\" has id 264"));
  EXPECT_THAT(refusal_of(small_model(), {{"added_tokens_decoder", {{"300", {{"content", "hi"}}}}}}),
              HasSubstr("two ids"));
  EXPECT_THAT(refusal_of(small_model(), {{"added_tokens_decoder", {{"x", {{"content", "<x>"}}}}}}),
              HasSubstr("tokenizer_config.json: added_tokens_decoder.x"));
  EXPECT_THAT(refusal_of(small_model(), json::array()), HasSubstr("tokenizer_config.json: expected a JSON object"));
  EXPECT_THAT(refusal_of(small_model(), nullptr, {{"<x>", 1u << 30}}),
              HasSubstr("added_tokens.json: <x>: expected an id"));
  EXPECT_THAT(refusal_of(small_model(), nullptr, {{"<x>", "7"}}), HasSubstr("added_tokens.json: <x>: expected an id"));
}

/// A table of replacements whose trie is `units` and whose texts are one empty one.
std::string charsmap(const std::vector<uint32_t>& units) {
  const auto size = static_cast<uint32_t>(units.size() * 4);
  std::string out(4 + size, '\0');
  std::memcpy(out.data(), &size, 4);
  std::memcpy(out.data() + 4, units.data(), size);
  return out + '\0';
}

TEST(SentencePiece, ReplacementTablesThatLeadOutsideThemselvesAreRefused) {
  const auto with = [](const std::string& table) { return refusal_of(special_pieces() + specs(kBpe, table)); };
  EXPECT_THAT(with("ab"), HasSubstr("precompiled_charsmap"));
  EXPECT_THAT(with(charsmap({0})), HasSubstr("a step out of it"));  // the root's children lie behind the end
  std::vector<uint32_t> units(512, 0);
  units[0] = 1u << 10;  // children at 1 ^ byte
  EXPECT_EQ(with(charsmap(units)), "accepted");
  units[1 ^ 'a'] = 'a' | 1u << 29;  // a child whose children lie far away
  EXPECT_THAT(with(charsmap(units)), HasSubstr("a step out of it"));
  units[1 ^ 'a'] = 'a' | 1u << 8 | 256u << 10;  // a child with a leaf that points behind the texts
  units[(1 ^ 'a') ^ 256] = 0x80000000u | 77;
  EXPECT_THAT(with(charsmap(units)), HasSubstr("outside the table"));
}

TEST(SentencePiece, CutOrAlteredFilesAreRefusedOrReadButNeverCrash) {
  std::string whole = small_model() + piece("hihi", -9, kUserDefined);
  TempDir folder;
  const auto attempt = [&](const std::string& content) {
    write_text(folder / "tokenizer.model", content);
    try {
      const auto tokenizer = Tokenizer::load_tokenizer(folder.path());
      tokenizer->decode(tokenizer->encode("hi <s>\xC3\xA9hihi"));
    } catch (const CheckpointError&) {
    }
  };
  for (size_t length = 0; length < whole.size(); length += 7) attempt(whole.substr(0, length));
  CounterRng rng(5, 0);
  for (int i = 0; i < 500; ++i) {
    std::string altered = whole;
    for (int k = 0; k < 2; ++k) {
      const size_t at = rng.next_below(2) ? whole.size() - 1 - rng.next_below(150) : rng.next_below(whole.size());
      altered[at] = static_cast<char>(rng.next_below(256));
    }
    attempt(altered);
  }
}

}  // namespace
}  // namespace qtune
