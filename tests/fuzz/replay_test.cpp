// Every input of the corpora, seeds and what the fuzzers found, through the fuzzers' own targets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fuzz/heap_watch.h"
#include "fuzz/run_target.h"
#include "qtune/base/error.h"
#include "qtune/base/file.h"

namespace qtune::fuzz {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::vector<fs::path> corpus_of(const Target& target) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(fs::path(QTUNE_FUZZ_CORPUS) / target.name)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class CorpusTest : public testing::TestWithParam<std::string_view> {};

TEST_P(CorpusTest, EveryInputIsReadOrRefusedInOneLineWithinItsMemoryAndTime) {
  const Target& target = find_target(GetParam());
  TargetRunner runner(target);
  int num_read = 0, num_refused = 0;
  for (const fs::path& path : corpus_of(target)) {
    const Ending ending = runner.run(read_file(path));
    EXPECT_EQ(ending.fault, "") << path;
    ++(ending.refusal.empty() ? num_read : num_refused);
  }
  // Both ends must occur, else the corpus tests nothing.
  EXPECT_GT(num_read, 0);
  EXPECT_GT(num_refused, 0);
}

std::vector<std::string_view> names() {
  std::vector<std::string_view> out;
  for (const Target& target : all_targets()) out.push_back(target.name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, CorpusTest, testing::ValuesIn(names()),
                         [](const auto& info) { return std::string(info.param); });

std::string fault_of(void (*read)(const fs::path&)) {
  const Target target{"t", "file", Form::kBytes, [](const fs::path&) {}, read};
  return TargetRunner(target).run("content").fault;
}

TEST(TargetRunner, AnErrorOfOneLineIsNoFault) {
  EXPECT_EQ(fault_of([](const fs::path&) {}), "");
  EXPECT_EQ(fault_of([](const fs::path&) { throw Error("refused"); }), "");
}

TEST(TargetRunner, OtherExceptionsAndMessagesOfTwoLinesAreFaults) {
  EXPECT_THAT(fault_of([](const fs::path&) { throw std::length_error("odd"); }), HasSubstr("no qtune::Error: odd"));
  EXPECT_THAT(fault_of([](const fs::path&) { throw Error("two\nlines"); }), HasSubstr("more than one line"));
}

TEST(TargetRunner, MemoryThatWasFreedAgainCountsWhereTheHeapIsWatched) {
  const std::string fault = fault_of([](const fs::path&) { std::string(65 << 20, 'x').shrink_to_fit(); });
  if (heap_is_watched()) {
    EXPECT_THAT(fault, HasSubstr("65.0 MiB of heap at once, at most its size and 64.0 MiB"));
  } else {
    EXPECT_EQ(fault, "");
  }
}

TEST(TargetRunner, MoreThanASecondOfProcessorTimeIsAFault) {
  EXPECT_THAT(fault_of([](const fs::path&) {
                const std::clock_t end = std::clock() + CLOCKS_PER_SEC * 11 / 10;
                while (std::clock() < end) {
                }
              }),
              HasSubstr("s of processor time"));
}

}  // namespace
}  // namespace qtune::fuzz
