// Bad lines: every one is named with its reason, whether they stop the run or are skipped.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/read_records.h"
#include "qtune/base/error.h"
#include "support/log_text.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kGood = R"({"prompt":"p","completion":"c"})";

class BadRecords : public testing::Test {
 protected:
  std::string write(const std::string& content, const std::string& name = "d.jsonl") {
    std::ofstream(dir_ / name, std::ios::binary) << content;
    return (dir_ / name).string();
  }
  static std::string error_of(const DatasetSpec& spec) {
    try {
      read_all(spec);
    } catch (const DataError& e) {
      return e.what();
    }
    return "";
  }
  TempDir dir_;
};

const std::vector<std::pair<std::string, std::string>> kKinds = {
    {"{\"prompt\":\"p\",\"completion\"", "unexpected end of input"},
    {"{'prompt':'p'}", "invalid literal"},
    {"\"a text\"", "found string"},
    {"null", "found null"},
    {R"({"prompt":"p"})", "key \"completion\", found keys \"prompt\""},
    {R"({"prompt":"p","completion":3})", "a string under \"completion\", found number"},
    {R"({"prompt":[],"completion":[]})", "at least one message"},
    {R"({"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"boss","content":"a"}]})", "found \"boss\""},
    {R"({"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"user","content":"q"}]})", "assistant turn"},
    {"{\"prompt\":\"p\xC3\",\"completion\":\"c\"}", "ill-formed UTF-8"},
    {R"({"prompt":"p\ud83d","completion":"c"})", "surrogate"},
    {std::string("{\"prompt\":\"p\0\",\"completion\":\"c\"}", 31), "control character U+0000"},
    {"{\"prompt\":" + std::string(300, '[') + std::string(300, ']') + "}", "nested more than 256 deep"},
    {R"({"prompt":"p","completion":"c","prompt":"q"})", "key \"prompt\" twice"},
    {R"({"prompt":"p","completion":"c","n":1e999})", "number overflow"},
    {kGood + kGood, "expected end of input"},
};

TEST_F(BadRecords, PythonsWordsForNumbersThatJsonLacksAreNull) {
  const auto file = [&](const std::string& line) { return DatasetSpec{.file = write(line + "\n")}; };
  EXPECT_THAT(
      all_shown(
          file(R"({"score": NaN, "range":[-Infinity,Infinity,NaN], "prompt": "NaN \"Infinity", "completion": "c"})")),
      testing::ElementsAre("user:NaN \"Infinity|assistant:c"));
  EXPECT_THAT(error_of(file(R"({"prompt": "p", "completion": NaN})")),
              HasSubstr("a string under \"completion\", found null"));
  EXPECT_THAT(error_of(file(R"({"prompt": NaN, "completion": x})")), HasSubstr("at column 31: invalid literal"));
}

TEST_F(BadRecords, SkippingNamesEveryOneWithLineAndReason) {
  std::string text = kGood + "\n";
  for (const auto& [line, reason] : kKinds) text += line + "\n" + kGood + "\n";
  const std::string file = write(text);
  const LogText log;
  EXPECT_EQ(read_all({.file = file, .on_bad_data = OnBadData::kSkip}).size(), kKinds.size() + 1);
  const auto warnings = log.lines_with("warning: skipped ");
  ASSERT_EQ(warnings.size(), kKinds.size());
  for (size_t i = 0; i < kKinds.size(); ++i) {
    EXPECT_THAT(warnings[i], AllOf(HasSubstr(fmt::format("{}:{}: expected ", file, 2 * i + 2)),
                                   HasSubstr(kKinds[i].second), Not(HasSubstr("--->"))));
  }
  EXPECT_EQ(log.lines_with(fmt::format("skipped {} bad records, read {}", kKinds.size(), kKinds.size() + 1)).size(),
            1u);
}

TEST_F(BadRecords, RaisingReadsOnToNameEveryOne) {
  std::string text = kGood + "\n";
  for (const auto& [line, reason] : kKinds) text += line + "\n" + kGood + "\n";
  const std::string file = write(text);
  const LogText log;
  EXPECT_THAT(error_of({.file = file}),
              AllOf(HasSubstr(file + ":2: expected"), HasSubstr(fmt::format("in all {} bad records", kKinds.size()))));
  const auto errors = log.lines_with("error: ");
  ASSERT_EQ(errors.size(), kKinds.size());
  for (size_t i = 0; i < kKinds.size(); ++i) {
    EXPECT_THAT(errors[i], AllOf(HasSubstr(fmt::format("{}:{}: ", file, 2 * i + 2)), HasSubstr(kKinds[i].second)));
  }
}

TEST_F(BadRecords, ASingleOneIsTheErrorItself) {
  const std::string file = write(kGood + "\nx\n" + kGood + "\n");
  const LogText log;
  EXPECT_THAT(error_of({.file = file}), AllOf(HasSubstr(file + ":2: expected"), Not(HasSubstr("in all"))));
  EXPECT_TRUE(log.lines_with("error").empty());
}

TEST_F(BadRecords, AThousandAreNamedAndTheOthersCounted) {
  std::string text = kGood + "\n";
  for (int i = 0; i < 1500; ++i) text += "x\n";
  const std::string file = write(text);
  const LogText log;
  EXPECT_THAT(error_of({.file = file}), HasSubstr("in all 1500 bad records, the first 1000 named in the log"));
  EXPECT_EQ(log.lines_with("error: ").size(), 1000u);
  read_all({.file = file, .on_bad_data = OnBadData::kSkip});
  EXPECT_EQ(log.lines_with("warning: skipped /").size(), 1000u);
  EXPECT_EQ(log.lines_with("skipped 1500 bad records (500 of them not named), read 1").size(), 1u);
}

TEST_F(BadRecords, AFileOfAnotherKindIsNotReadToItsEnd) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "x\n";
  const LogText log;
  EXPECT_THAT(error_of({.file = write(text)}), HasSubstr("at least 1000 bad records"));
}

TEST_F(BadRecords, RecordsBehindNumSamplesAreNotLookedAt) {
  const std::string file = write(kGood + "\nx\n" + kGood + "\ny\nz\n");
  const LogText log;
  EXPECT_THAT(error_of({.file = file, .num_samples = 2}), Not(HasSubstr("in all")));
}

TEST_F(BadRecords, ATruncatedLastLineIsCalledCutOff) {
  EXPECT_THAT(error_of({.file = write(kGood + "\n{\"prompt\":\"p")}),
              AllOf(HasSubstr("d.jsonl:2: "), HasSubstr("seems cut off")));
  EXPECT_THAT(error_of({.file = write(kGood + "\n{\"prompt\":\"p\n")}), Not(HasSubstr("cut off")));
}

TEST_F(BadRecords, ALineThatIsTooLongIsSkippedAndTheNextOneRead) {
  const std::string file = write("{");
  std::filesystem::resize_file(file, static_cast<uintmax_t>(kMaxRecordBytes) + 10);  // sparse
  std::ofstream(file, std::ios::app) << "\n" << kGood << "\n";
  const LogText log;
  const auto records = read_all({.file = file, .on_bad_data = OnBadData::kSkip});
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(id_of(records[0]).line, 2);
  EXPECT_EQ(log.lines_with("d.jsonl:1: expected a record of at most 256.0 MiB, found a longer line").size(), 1u);
}

TEST_F(BadRecords, OtherEncodingsAreNamed) {
  EXPECT_THAT(error_of({.file = write(std::string("\xFF\xFE{\0", 4))}), HasSubstr("found UTF-16"));
  EXPECT_THAT(error_of({.file = write("\x1F\x8B\x08")}), HasSubstr("gzip"));
}

}  // namespace
}  // namespace qtune
