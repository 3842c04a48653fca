#include "qtune/base/temporary_name.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "qtune/base/file.h"
#include "support/dead_process.h"
#include "support/temp_dir.h"

namespace qtune {
namespace {

namespace fs = std::filesystem;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

TEST(RemoveLeftovers, TakesFilesAndFoldersOfDeadProcessesOnly) {
  const TempDir dir;
  const std::string dead = std::to_string(dead_process()), alive = std::to_string(getppid());
  fs::create_directory(dir / ("out.tmp-" + dead + "-0"));
  write_file_atomic(dir / ("out.tmp-" + dead + "-0") / "model.safetensors", "x");
  write_file_atomic(dir / ("out.tmp-" + dead + "-17"), "x");
  const std::set<std::string> kept = {"out",
                                      "out.tmp-" + alive + "-0",
                                      "out.tmp-" + dead,
                                      "out.tmp-" + dead + "-",
                                      "out.tmp-" + dead + "-0.txt",
                                      "out.tmp--" + dead + "-0",
                                      "out.tmp-x-0",
                                      "other.tmp-" + dead + "-0",
                                      temporary_name("out", 3).string()};
  for (const std::string& name : kept) write_file_atomic(dir / name, "x");
  remove_leftovers(dir / "out");
  EXPECT_EQ(names_in(dir.path()), kept);
  remove_leftovers(dir / "nowhere/out");
}

TEST(RemoveLeftoversIn, TakesThoseOfAllTargetsButOfNoLivingProcess) {
  const TempDir dir;
  const std::string dead = std::to_string(dead_process()), alive = std::to_string(getppid());
  fs::create_directory(dir / ("checkpoint-2.tmp-" + dead + "-0"));
  write_file_atomic(dir / ("checkpoint-2.tmp-" + dead + "-0") / "model.safetensors", "x");
  write_file_atomic(dir / ("config.json.tmp-" + dead + "-3"), "x");
  const std::set<std::string> kept = {"config.json", "scores.jsonl.tmp-" + alive + "-0", ".tmp-" + dead + "-0"};
  for (const std::string& name : kept) write_file_atomic(dir / name, "x");
  remove_leftovers_in(dir.path());
  EXPECT_EQ(names_in(dir.path()), kept);
}

TEST(RemoveLeftoversIn, TakesThoseOfAnEarlierProcessWithTheSameNumber) {
  const TempDir dir;
  write_file_atomic(dir / temporary_name("model.safetensors", 3), "half of it");
  remove_leftovers_in(dir.path());
  EXPECT_EQ(names_in(dir.path()), std::set<std::string>());
}

}  // namespace
}  // namespace qtune
