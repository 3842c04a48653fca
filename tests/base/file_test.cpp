#include "qtune/base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

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

TEST(WriteFileAtomic, LinkStaysAndTheFileItLeadsToIsReplaced) {
  const TempDir dir;
  std::filesystem::create_directory(dir / "data");
  write_file_atomic(dir / "data/a.txt", "old");
  std::filesystem::create_symlink("data/a.txt", dir / "near");
  std::filesystem::create_symlink(dir / "near", dir / "far");
  write_file_atomic(dir / "far", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "far"));
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "near"));
  EXPECT_FALSE(std::filesystem::is_symlink(dir / "data/a.txt"));
  EXPECT_EQ(read_file(dir / "data/a.txt"), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "data"), {}), 1);
}

TEST(WriteFileAtomic, LinkToNothingMakesTheFileItNames) {
  const TempDir dir;
  std::filesystem::create_symlink("later.txt", dir / "link");
  write_file_atomic(dir / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(dir / "link"));
  EXPECT_EQ(read_file(dir / "later.txt"), "new");
}

TEST(WriteFileAtomic, PipeIsWrittenAndStaysAPipe) {
  const TempDir dir;
  const std::filesystem::path pipe = dir / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::filesystem::create_symlink("pipe", dir / "link");
  // Opened for both, so that nobody waits for the other end.
  const int both = ::open(pipe.c_str(), O_RDWR | O_NONBLOCK);
  ASSERT_GE(both, 0);
  write_file_atomic(pipe, "one ");
  write_file_atomic(dir / "link", "two");
  { AtomicFileWriter(pipe).write("..."); }  // not committed
  char received[32];
  EXPECT_EQ(std::string(received, static_cast<size_t>(::read(both, received, sizeof received))), "one two...");
  ::close(both);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 2);
}

TEST(WriteFileAtomic, FolderIsRefusedAtOnce) {
  const TempDir dir;
  EXPECT_THROW(AtomicFileWriter(dir.path()), Error);
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

TEST(MappedFile, ReleasedPagesReadTheSameAgain) {
  const TempDir dir;
  const std::string content(100'000, 'q');
  write_file_atomic(dir / "f", content);
  const MappedFile file(dir / "f");
  release_pages(file.bytes().subspan(5, 50'000));
  release_pages({});
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()), content);
}

}  // namespace
}  // namespace qtune
