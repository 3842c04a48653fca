#include "qtune/text/sample_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "support/byte_samples.h"

namespace qtune {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string marked(const TokenizedSample& sample, MarkStyle style = MarkStyle::kBrackets,
                   const SampleViewOptions& options = {.decode = bytes_as_text}) {
  return marked_text(sample_spans(sample, options), style);
}

std::vector<TextSpan> plain(const std::string& text) { return {{.text = text}}; }

TEST(MarkedText, PutsOneMarkAroundEachTrainedRun) {
  const TokenizedSample sample = sample_of("abcdef", ".xx..x");
  EXPECT_EQ(marked(sample), "a⟦bc⟧de⟦f⟧");
  EXPECT_EQ(marked(sample, MarkStyle::kColour), "a\x1b[32mbc\x1b[0mde\x1b[32mf\x1b[0m");
  EXPECT_EQ(marked(sample_of("", "")), "");
}

TEST(MarkedText, SpecialIdsHaveAStyleOfTheirOwn) {
  const SampleViewOptions options{.decode = bytes_as_text, .special = {.texts = {{'S', "S"}, {'E', "E"}}, .bos = {}}};
  const TokenizedSample sample = sample_of("SabE", "..xe");
  EXPECT_EQ(marked(sample, MarkStyle::kColour, options), "\x1b[2;7mS\x1b[0ma\x1b[32mb\x1b[0m\x1b[32;7mE\x1b[0m");
  EXPECT_EQ(marked(sample, MarkStyle::kBrackets, options), "Sa⟦bE⟧") << "one trained run";
}

TEST(MarkedText, TrainedLineEndsAreSeenAndNoColourReachesOverOne) {
  EXPECT_EQ(marked(sample_of("a\nb\n\nc", "..xxxx"), MarkStyle::kColour),
            "a\n\x1b[32mb↵\x1b[0m\n\x1b[32m↵\x1b[0m\n\x1b[32mc\x1b[0m");
}

TEST(MarkedText, ACharacterOfSeveralTokensStaysWhole) {
  EXPECT_EQ(marked(sample_of("é🙂", "..xxxx")), "é⟦🙂⟧");
}

TEST(MarkedText, ControlCharactersAndBrokenUtf8CannotReachTheTerminal) {
  EXPECT_EQ(marked(sample_of("a\x1b[31m\n\t\x7f\xc2\x9b\xff", "...........")),
            "a\\x1b[31m\n\t\\x7f\\xc2\\x9b\xEF\xBF\xBD");
  EXPECT_EQ(terminal_safe("a\xE2\x80\xAE"
                          "b\xE2\x81\xA6"),
            "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa6")
      << "writing direction";
}

TEST(MarkedText, WithoutATokenizerTheIdsStand) {
  EXPECT_EQ(marked(sample_of("abc", ".xx"), MarkStyle::kBrackets, {}), "97⟦98 99⟧");
}

TEST(MarkedText, ASpaceThatADecoderTakesFromATextsStartStaysInsideOfOne) {
  const DecodeIds decode = [](std::span<const int32_t> ids) {
    const std::string text = bytes_as_text(ids);
    return text.starts_with(' ') ? text.substr(1) : text;
  };
  EXPECT_EQ(marked(sample_of(" a b", "..xx"), MarkStyle::kBrackets, {.decode = decode}), "a⟦ b⟧");
}

TEST(TokenBorders, EachTokenIsFollowedByItsId) {
  const SampleViewOptions options{.decode = bytes_as_text, .special = {}, .borders = TokenBorders::kShown};
  EXPECT_EQ(marked(sample_of("ab", ".x"), MarkStyle::kBrackets, options), "a‹97›⟦b‹98›⟧");
  EXPECT_EQ(marked(sample_of("éb", "..."), MarkStyle::kBrackets, options), "é‹195 169›b‹98›");
  EXPECT_EQ(marked(sample_of("\xc3"
                             "a",
                             ".."),
                   MarkStyle::kBrackets, options),
            "\xEF\xBF\xBD‹195›a‹97›");
  EXPECT_EQ(marked(sample_of("a\nb", "..."), MarkStyle::kBrackets, options), "a‹97›⏎‹10›\nb‹98›");
}

TEST(SampleSpans, TheMiddleOfALongSampleIsLeftOutWithANote) {
  const SampleViewOptions options{.decode = bytes_as_text, .special = {}, .borders = {}, .max_tokens = 5};
  EXPECT_EQ(marked(sample_of("abcdefgh", "...xx..."), MarkStyle::kBrackets, options),
            "abc\n[... 3 tokens, 2 of them trained: --full ...]\ngh");
  EXPECT_EQ(marked(sample_of("abcde", "....."), MarkStyle::kBrackets, options), "abcde");
}

TEST(RecordSpans, AreCutBetweenCharactersAndSafe) {
  EXPECT_EQ(marked_text(record_spans("äöü日本語", 3), MarkStyle::kBrackets), "äö\n[... 3 characters: --full ...]\n語");
  EXPECT_EQ(marked_text(record_spans("äöü", 3), MarkStyle::kBrackets), "äöü");
  EXPECT_EQ(marked_text(record_spans("{\"a\":\"\x1b[2J\"}", 0), MarkStyle::kColour), "{\"a\":\"\\x1b[2J\"}");
}

TEST(SideBySide, WideAndCombiningCharactersKeepTheBorderInPlace) {
  // 26 columns: two of 11 cells, and the border.
  const TextColumn left{.heading = "L",
                        .spans = plain("日本語日本語\n🙂🙂ab\ne\xCC\x81"
                                       "e\xCC\x81\nabcdefghijkl")};
  EXPECT_EQ(side_by_side(left, {.heading = "R", .spans = plain("1\n2")}, 26, MarkStyle::kBrackets),
            "L           │ R\n"
            "日本語日本  │ 1\n"
            "語          │ 2\n"
            "🙂🙂ab      │ \n"
            "e\xCC\x81"
            "e\xCC\x81          │ \n"
            "abcdefghijk │ \n"
            "l           │ \n");
}

TEST(SideBySide, AColourIsTurnedOffAtEachLinesEnd) {
  const std::vector<TextSpan> trained = {{.text = "abcdefghijkl", .trained = true}};
  EXPECT_EQ(
      side_by_side({.heading = "L", .spans = trained}, {.heading = "R", .spans = plain("x")}, 24, MarkStyle::kColour),
      "\x1b[2mL\x1b[0m          │ \x1b[2mR\x1b[0m\n"
      "\x1b[32mabcdefghij\x1b[0m │ x\n"
      "\x1b[32mkl\x1b[0m         │ \n");
}

TEST(SideBySide, TabsAreSpacesAndTheLastLineEndAddsNoLine) {
  EXPECT_EQ(side_by_side({.heading = "L", .spans = plain("a\tb\n")}, {.heading = "R", .spans = plain("x\n")}, 24,
                         MarkStyle::kBrackets),
            "L          │ R\na   b      │ x\n");
}

TEST(SampleJsonLine, HasIdTextIdsAndLabels) {
  EXPECT_EQ(sample_json_line(sample_of("a\"", ".x"), bytes_as_text),
            R"({"id":"f.jsonl:3","text":"a\"","input_ids":[97,34],"labels":[-100,34]})");
  EXPECT_EQ(sample_json_line(sample_of("a", "."), nullptr),
            R"({"id":"f.jsonl:3","text":null,"input_ids":[97],"labels":[-100]})");
}

}  // namespace
}  // namespace qtune
