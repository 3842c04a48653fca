#include "qtune/base/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "qtune/base/error.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

TEST(WriteFileAtomic, ReplacesContentAndLeavesNothingBeside) {
  const TempDir dir;
  write_file_atomic(dir / "a.txt", "old");
  write_file_atomic(dir / "a.txt", "new");
  EXPECT_EQ(read_file(dir / "a.txt"), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(WriteFileAtomic, FailedWriteKeepsTheOldFileAndNamesTheReason) {
  const TempDir dir;
  write_file_atomic(dir / "a.txt", "old");
  // A file size limit is the portable stand-in for a full disk: write(2) fails the same way.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{16, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    write_file_atomic(dir / "a.txt", std::string(1000, 'x'));
  } catch (const Error& e) {
    message = e.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_NE(message.find("a.txt: cannot write: File too large"), std::string::npos) << message;
  EXPECT_EQ(read_file(dir / "a.txt"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(MappedFile, EmptyFileMapsToEmptySpan) {
  const TempDir dir;
  write_file_atomic(dir / "empty", "");
  EXPECT_TRUE(MappedFile(dir / "empty").bytes().empty());
}

TEST(MappedFile, MissingFileNamesThePath) {
  try {
    MappedFile("/nowhere/at/all");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("/nowhere/at/all: cannot open: No such file"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace qtune
