#include "qtune/text/sample_view.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace qtune {
namespace {

std::string bytes_as_text(std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) text.push_back(static_cast<char>(id));
  return text;
}

/// One token a byte; trained where `mask` has 'x'.
TokenizedSample sample_of(const std::string& text, const std::string& mask) {
  TokenizedSample sample{.id = {.file = "f.jsonl", .line = 3, .record = ""}};
  for (size_t k = 0; k < text.size(); ++k) {
    sample.input_ids.push_back(static_cast<unsigned char>(text[k]));
    sample.trained.push_back(mask[k] == 'x');
    sample.end_of_turn.push_back(0);
  }
  return sample;
}

TEST(MarkedText, PutsOneMarkAroundEachTrainedRun) {
  const TokenizedSample sample = sample_of("abcdef", ".xx..x");
  EXPECT_EQ(marked_text(sample, bytes_as_text, MarkStyle::kBrackets), "a⟦bc⟧de⟦f⟧");
  EXPECT_EQ(marked_text(sample, bytes_as_text, MarkStyle::kColour), "a\x1b[32mbc\x1b[0mde\x1b[32mf\x1b[0m");
  EXPECT_EQ(marked_text(sample_of("", ""), bytes_as_text, MarkStyle::kBrackets), "");
}

TEST(MarkedText, ACharacterOfSeveralTokensStaysWhole) {
  EXPECT_EQ(marked_text(sample_of("é🙂", "..xxxx"), bytes_as_text, MarkStyle::kBrackets), "é⟦🙂⟧");
}

TEST(MarkedText, ControlCharactersAndBrokenUtf8CannotReachTheTerminal) {
  EXPECT_EQ(marked_text(sample_of("a\x1b[31m\n\t\x7f\xc2\x9b\xff", "..........."), bytes_as_text, MarkStyle::kBrackets),
            "a\\x1b[31m\n\t\\x7f\\xc2\\x9b\xEF\xBF\xBD");
}

TEST(MarkedText, WithoutATokenizerTheIdsStand) {
  EXPECT_EQ(marked_text(sample_of("abc", ".xx"), ids_as_text, MarkStyle::kBrackets), "97⟦98 99⟧");
}

TEST(LengthHistogram, HasRoundRangesAndCountsEverySampleOnce) {
  EXPECT_EQ(length_histogram({7, 12, 13, 19, 31, 31}, 5),
            "   0 to  9        1  #############\n"
            "  10 to 19        3  ########################################\n"
            "  20 to 29        0  \n"
            "  30 to 39        2  ##########################\n");
  EXPECT_EQ(length_histogram({5, 5, 6}),
            "  5        2  ########################################\n  6        1  ####################\n");
  EXPECT_EQ(length_histogram({}), "");
}

TEST(LengthHistogram, NeverHasMoreRowsThanAsked) {
  for (int64_t least = 0; least < 60; ++least) {
    for (int64_t most = least; most < 400; most += 7) {
      const std::string text = length_histogram({least, most}, 6);
      EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 6) << least << " " << most;
    }
  }
}

TEST(CountDuplicates, ComparesTokensAndWhatIsTrained) {
  SampleStoreWriter writer("");
  for (const TokenizedSample& sample : {sample_of("ab", ".x"), sample_of("ab", ".x"), sample_of("ab", "xx"),
                                        sample_of("ac", ".x"), sample_of("ab", ".x")}) {
    writer.add(sample);
  }
  SampleSet samples;
  samples.append(writer.finish({}, ""));
  EXPECT_EQ(count_duplicates(samples), 2);
}

TEST(SampleJsonLine, HasIdTextIdsAndLabels) {
  EXPECT_EQ(sample_json_line(sample_of("a\"", ".x"), bytes_as_text),
            R"({"id":"f.jsonl:3","text":"a\"","input_ids":[97,34],"labels":[-100,34]})");
  EXPECT_EQ(sample_json_line(sample_of("a", "."), nullptr),
            R"({"id":"f.jsonl:3","text":null,"input_ids":[97],"labels":[-100]})");
}

}  // namespace
}  // namespace qtune
