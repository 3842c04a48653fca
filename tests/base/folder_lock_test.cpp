#include "qtune/base/folder_lock.h"

#include <gtest/gtest.h>

#include <optional>

#include "support/temp_dir.h"

namespace qtune {
namespace {

TEST(FolderLock, IsOneHoldersUntilItLetsGo) {
  const TempDir folder;
  std::optional<FolderLock> first(folder.path());
  EXPECT_FALSE(first->is_taken());
  EXPECT_TRUE(FolderLock(folder.path()).is_taken());
  first.reset();
  EXPECT_FALSE(FolderLock(folder.path()).is_taken());
}

TEST(FolderLock, OfAFolderThatIsNotThereIsNobodys) {
  const TempDir folder;
  EXPECT_FALSE(FolderLock(folder / "missing").is_taken());
}

}  // namespace
}  // namespace qtune
