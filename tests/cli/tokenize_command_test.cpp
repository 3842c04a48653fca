// qtune tokenize, from its arguments and input lines to its output and exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "qtune/base/error.h"
#include "support/run_qtune.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const std::string kFolder = QTUNE_TEST_DATA "/tokenizers/smollm2";

CommandOutput tokenize(const std::string& input, std::vector<std::string> flags = {},
                       const std::string& folder = kFolder) {
  std::ios::sync_with_stdio(false);  // first, since it puts a buffer of its own into cin
  std::istringstream stream(input);
  std::streambuf* const before = std::cin.rdbuf(stream.rdbuf());
  std::cin.clear();
  flags.insert(flags.begin(), {"tokenize", "--model", folder});
  CommandOutput output = run_qtune(std::move(flags));
  std::cin.rdbuf(before);
  return output;
}

TEST(TokenizeCommand, JsonLinesGoThereAndBackAsTheReferenceLibrarySays) {
  std::string texts, ids, decoded;
  std::ifstream cases(kFolder + "/cases.jsonl");
  for (std::string line; std::getline(cases, line);) {
    const json c = json::parse(line);
    texts += c["text"].dump() + "\n";
    ids += c["ids"].dump() + "\n";
    decoded += c["decoded"].dump() + "\n";
  }
  const CommandOutput encoded = tokenize(texts, {"--json"});
  EXPECT_EQ(encoded.exit_code, kExitOk);
  std::string without_spaces = encoded.out;
  std::erase(without_spaces, ' ');
  EXPECT_EQ(without_spaces, ids);
  EXPECT_EQ(tokenize(ids, {"--json", "--decode"}).out, decoded);
}

TEST(TokenizeCommand, PlainLinesGoThereAndBack) {
  const std::string text = "Hello <|im_end|> world\n\nlast line without an end";
  const CommandOutput encoded = tokenize(text);
  EXPECT_EQ(encoded.exit_code, kExitOk);
  EXPECT_EQ(std::count(encoded.out.begin(), encoded.out.end(), '\n'), 3);
  EXPECT_THAT(encoded.out, HasSubstr(" 2 "));  // the special token
  EXPECT_EQ(tokenize(encoded.out, {"--decode"}).out, text + "\n");
}

TEST(TokenizeCommand, BadLineIsNamedAndWhatCameBeforeItIsWritten) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> wrong = {
      {"\"a\"\n[1]\n", {"--json"}},
      {"\"a\"\n\"b\n", {"--json"}},
      {"\"a\"\n\n", {"--json"}},
      {"a\nb\xFF\n", {}},
      {"[5]\n[-1]\n", {"--json", "--decode"}},
      {"[5]\n[1.5]\n", {"--json", "--decode"}},
      {"[5]\n[99999]\n", {"--json", "--decode"}},
      {"[5]\n{}\n", {"--json", "--decode"}},
      {"5\n5 x\n", {"--decode"}},
      {"5\n99999999999\n", {"--decode"}},
      {"5\n-1\n", {"--decode"}}};
  for (const auto& [input, flags] : wrong) {
    const CommandOutput output = tokenize(input, flags);
    EXPECT_EQ(output.exit_code, kExitData) << input;
    EXPECT_THAT(output.err, HasSubstr("stdin:2: expected ")) << input;
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    EXPECT_EQ(std::count(output.out.begin(), output.out.end(), '\n'), 1) << input;
  }
}

TEST(TokenizeCommand, ThreadsKeepTheOrderOfTheLines) {
  std::string texts;
  for (int i = 0; i < 20'000; ++i) texts += "line " + std::to_string(i) + "\n";
  const CommandOutput one = tokenize(texts), three = tokenize(texts, {"--threads", "3"});
  EXPECT_EQ(three.exit_code, kExitOk);
  EXPECT_EQ(one.out, three.out);
  EXPECT_EQ(tokenize(three.out, {"--decode", "--threads", "3"}).out, texts);
}

TEST(TokenizeCommand, FirstOfTheBadLinesIsNamedWithAnyNumberOfThreads) {
  std::string texts;
  for (int i = 1; i <= 2000; ++i) texts += i == 1500 || i == 1501 || i == 1900 ? "b\xFF\n" : "good\n";
  const CommandOutput output = tokenize(texts, {"--threads", "3"});
  EXPECT_EQ(output.exit_code, kExitData);
  EXPECT_THAT(output.err, HasSubstr("stdin:1500: "));
  EXPECT_EQ(std::count(output.out.begin(), output.out.end(), '\n'), 1499);
}

TEST(TokenizeCommand, TimeIsSaidOnStderr) {
  const CommandOutput output = tokenize("Hello\nworld\n", {"--time"});
  EXPECT_THAT(output.err, HasSubstr("2 lines, "));
  EXPECT_THAT(output.err, HasSubstr("tokens/s"));
}

TEST(TokenizeCommand, SentencePieceModelGoesThereAndBack) {
  const std::string folder = QTUNE_TEST_DATA "/tokenizers/spm", text = "Hello </s> world \xE6\x9D\xB1\n";
  const CommandOutput encoded = tokenize(text, {}, folder);
  EXPECT_EQ(encoded.exit_code, kExitOk);
  EXPECT_THAT(encoded.out, HasSubstr(" 2 "));
  EXPECT_EQ(tokenize(encoded.out, {"--decode"}, folder).out, text);
}

TEST(TokenizeCommand, FolderWithoutATokenizerIsACheckpointError) {
  const TempDir empty;
  const CommandOutput output = tokenize("a\n", {}, empty.path().string());
  EXPECT_EQ(output.exit_code, kExitCheckpoint);
  EXPECT_THAT(output.err, HasSubstr("tokenizer.json"));
}

}  // namespace
}  // namespace qtune
