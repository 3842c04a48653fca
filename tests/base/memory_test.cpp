#include "qtune/base/memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace qtune {
namespace {

TEST(Memory, AvailableIsPartOfTheWhole) {
  EXPECT_GT(total_memory_bytes(), int64_t{64} << 20);
  EXPECT_GT(available_memory_bytes(), 0);
  EXPECT_LE(available_memory_bytes(), total_memory_bytes());
}

TEST(Memory, ThePeakRemembersMemoryThatIsGone) {
  const int64_t before = peak_memory_bytes();
  EXPECT_GT(before, 1 << 20);
  { const std::vector<char> block(static_cast<size_t>(before) + (64 << 20), 1); }
  EXPECT_GE(peak_memory_bytes(), before + (32 << 20));
}

}  // namespace
}  // namespace qtune
