#include "qtune/metrics/line_log.h"

#include <gtest/gtest.h>

#include "qtune/base/error.h"
#include "qtune/base/file.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

TEST(LineLog, LinesAreInTheFileWhenWriteReturns) {
  const TempDir folder;
  LineLog log(folder / "m.jsonl");
  log.write("one\n");
  EXPECT_EQ(read_file(folder / "m.jsonl"), "one\n");
  log.write("two\nthree\n");
  EXPECT_EQ(read_file(folder / "m.jsonl"), "one\ntwo\nthree\n");
  EXPECT_EQ(log.sync(), (LogPosition{.part = 0, .bytes = 14}));
}

TEST(LineLog, NewRunRemovesTheLinesOfAnOldOne) {
  const TempDir folder;
  LineLog(folder / "m.jsonl").write("old\n");
  LineLog log(folder / "m.jsonl");
  EXPECT_EQ(read_file(folder / "m.jsonl"), "");
}

TEST(LineLog, ResumeRemovesWhatCameBehindTheCheckpoint) {
  const TempDir folder;
  LogPosition checkpoint;
  {
    LineLog log(folder / "m.jsonl");
    log.write("1\n2\n");
    checkpoint = log.sync();
    log.write("3\n4 torn");
  }
  LineLog log(folder / "m.jsonl", checkpoint);
  log.write("3\n");
  EXPECT_EQ(read_file(folder / "m.jsonl"), "1\n2\n3\n");
}

TEST(LineLog, GoesOnBehindTheLastWholeLineWhenBytesAreLost) {
  const TempDir folder;
  write_file_atomic(folder / "m.jsonl", "1\n2\n3 to");
  LineLog log(folder / "m.jsonl", {.part = 0, .bytes = 100});
  log.write("4\n");
  EXPECT_EQ(read_file(folder / "m.jsonl"), "1\n2\n4\n");
}

TEST(LineLog, PositionInsideALineFallsBackToItsBeginning) {
  const TempDir folder;
  const std::string longer_than_a_block(10000, 'x');
  write_file_atomic(folder / "m.jsonl", "1\n" + longer_than_a_block + "\n");
  LineLog log(folder / "m.jsonl", {.part = 0, .bytes = 9000});
  EXPECT_EQ(read_file(folder / "m.jsonl"), "1\n");
}

TEST(LineLog, FullPartsAreFollowedByNumberedOnes) {
  const TempDir folder;
  LineLog log(folder / "d.jsonl", {}, 4);
  for (const char* block : {"a\nb\nc\n", "d\n", "e\n", "f\n"}) log.write(block);
  EXPECT_EQ(read_file(folder / "d.jsonl"), "a\nb\nc\n");
  EXPECT_EQ(read_file(folder / "d.1.jsonl"), "d\ne\n");
  EXPECT_EQ(read_file(folder / "d.2.jsonl"), "f\n");
  EXPECT_EQ(log.position(), (LogPosition{.part = 2, .bytes = 2}));
}

TEST(LineLog, ResumedRotationEqualsTheUninterruptedOne) {
  const TempDir folder;
  LogPosition checkpoint;
  {
    LineLog log(folder / "d.jsonl", {}, 4);
    for (const char* block : {"a\n", "b\n", "c\n"}) log.write(block);
    checkpoint = log.sync();
    EXPECT_EQ(checkpoint.part, 1);
    for (const char* block : {"x\n", "y\n", "z\n", "w\n"}) log.write(block);
  }
  ASSERT_TRUE(std::filesystem::exists(folder / "d.2.jsonl"));
  LineLog log(folder / "d.jsonl", checkpoint, 4);
  EXPECT_FALSE(std::filesystem::exists(folder / "d.2.jsonl"));
  for (const char* block : {"d\n", "e\n"}) log.write(block);
  EXPECT_EQ(read_file(folder / "d.jsonl"), "a\nb\n");
  EXPECT_EQ(read_file(folder / "d.1.jsonl"), "c\nd\n");
  EXPECT_EQ(read_file(folder / "d.2.jsonl"), "e\n");
}

TEST(LineLog, MissingPartIsReplacedByTheLastOneThere) {
  const TempDir folder;
  write_file_atomic(folder / "d.jsonl", "a\n");
  LineLog log(folder / "d.jsonl", {.part = 2, .bytes = 4}, 4);
  log.write("b\n");
  EXPECT_EQ(read_file(folder / "d.jsonl"), "a\nb\n");
}

TEST(LineLog, NewRunRemovesTheNumberedPartsOfAnOldOne) {
  const TempDir folder;
  {
    LineLog log(folder / "d.jsonl", {}, 1);
    for (const char* block : {"a\n", "b\n", "c\n"}) log.write(block);
  }
  LineLog log(folder / "d.jsonl", {}, 1);
  EXPECT_FALSE(std::filesystem::exists(folder / "d.1.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(folder / "d.2.jsonl"));
}

TEST(LineLog, FailuresNameTheFile) {
  const TempDir folder;
  try {
    LineLog log(folder / "no/m.jsonl");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("m.jsonl: cannot open: No such file"), std::string::npos) << e.what();
  }
  EXPECT_THROW(LineLog(folder / "m.jsonl", {.part = -1}), Error);
}

}  // namespace
}  // namespace qtune
