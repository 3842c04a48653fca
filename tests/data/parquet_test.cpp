// The files are written by tests/data/parquet/make.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/read_records.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "qtune/base/rng.h"
#include "qtune/data/raw_record.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kFolder = std::string(QTUNE_TEST_DATA) + "/parquet/";
const std::vector<std::string> kConversations = {"system:s|user:Was ist 1+1?|assistant:zwei ☃", "user:q2|assistant:a2",
                                                 "user:q3|assistant:|user:q4|assistant:a4"};

std::string error_of(const DatasetSpec& spec) {
  try {
    read_all(spec);
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

class Parquet : public testing::Test {
 protected:
  void SetUp() override {
    if (!parquet_supported()) GTEST_SKIP() << "built without Arrow";
  }
};

TEST_F(Parquet, ListsOfStructsAreMessagesAndRowsAreCountedOverRowGroups) {
  const auto records = read_all({.file = kFolder + "messages.parquet"});
  ASSERT_EQ(records.size(), 3u);
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(shown(records[i]), kConversations[i]);
    EXPECT_EQ(id_of(records[i]).line, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(id_of(records[i]).record, std::to_string(7 + i));
  }
}

TEST_F(Parquet, LargeListsLargeStringsAndDictionariesAreReadAlike) {
  EXPECT_EQ(all_shown({.file = kFolder + "sharegpt_large.parquet"}), kConversations);
}

TEST_F(Parquet, ANullAnswerIsABadRecord) {
  EXPECT_EQ(all_shown({.file = kFolder + "question_answer.parquet", .on_bad_data = OnBadData::kSkip}),
            (std::vector<std::string>{"user:q1|assistant:a1", "user:q2|assistant:a2"}));
  EXPECT_THAT(error_of({.file = kFolder + "question_answer.parquet"}),
              HasSubstr("question_answer.parquet:3: expected a string under \"answer\", found null"));
}

TEST_F(Parquet, TokenIdsMayHaveAnyIntegerType) {
  const auto records = read_all({.file = kFolder + "input_ids.parquet"});
  ASSERT_EQ(records.size(), 2u);
  EXPECT_THAT(std::get<PreTokenized>(records[0]).input_ids, ElementsAre(5, 6, 7));
  EXPECT_THAT(std::get<PreTokenized>(records[1]).labels, ElementsAre(-100, 9));
}

TEST_F(Parquet, InvalidUtf8IsABadRecordThatNamesTheColumn) {
  EXPECT_THAT(error_of({.file = kFolder + "bad_utf8.parquet"}),
              AllOf(HasSubstr("bad_utf8.parquet:2: "), HasSubstr("invalid UTF-8 at byte 5 in column \"prompt\"")));
}

TEST_F(Parquet, NoRowsIsAnError) {
  EXPECT_THAT(error_of({.file = kFolder + "empty.parquet"}), HasSubstr("an empty file"));
}

TEST_F(Parquet, ARawRecordIsJsonInTheOrderOfTheColumns) {
  // "blob" holds bytes that are no text in row 1, and no JSON can show them.
  EXPECT_EQ(raw_records({{.file = kFolder + "messages.parquet", .line = 2}}).at(0),
            R"({"id":8,"messages":[{"role":"user","content":"q2","weight":null,"train":null},)"
            R"({"role":"assistant","content":"a2","weight":null,"train":null}],"score":null,)"
            R"("when":"1970-01-01 00:00:00.001","blob":null})");
}

TEST_F(Parquet, NoTruncationAndNoChangedByteCrashes) {
  const TempDir dir;
  const std::string file = (dir / "d.parquet").string();
  CounterRng rng(1, 2);
  for (const char* name : {"messages.parquet", "sharegpt_large.parquet", "input_ids.parquet"}) {
    const std::string whole = read_file(kFolder + name);
    for (int i = 0; i < 150; ++i) {
      std::string broken = whole;
      if (i % 3 == 0) broken.resize(rng.next_below(whole.size()));
      for (int k = i % 3; k > 0; --k) broken.at(rng.next_below(broken.size())) = static_cast<char>(rng.next());
      std::ofstream(file, std::ios::binary) << broken;
      try {
        read_all({.file = file});
      } catch (const DataError& e) {
        EXPECT_THAT(e.what(), HasSubstr(file));
      }
    }
  }
}

TEST(NoParquet, WithoutArrowTheErrorSaysHowToGetIt) {
  if (parquet_supported()) GTEST_SKIP() << "built with Arrow";
  EXPECT_THAT(error_of({.file = kFolder + "messages.parquet"}), HasSubstr("---> run tools/setup.sh"));
}

}  // namespace
}  // namespace qtune
