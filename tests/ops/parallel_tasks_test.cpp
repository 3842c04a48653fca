#include "../../src/ops/parallel_tasks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <string>
#include <vector>

namespace qtune {
namespace {

TEST(RunTasks, EachTaskIsDoneOnce) {
  std::vector<std::atomic<int>> done(1000);
  run_tasks<std::string>(1000, [&](int64_t task, std::string&) { ++done[static_cast<size_t>(task)]; });
  EXPECT_TRUE(std::all_of(done.begin(), done.end(), [](const std::atomic<int>& times) { return times == 1; }));
}

/// An exception that leaves a parallel region ends the process without a word.
TEST(RunTasks, WhatATaskThrowsIsThrownAfterTheOthersHaveEnded) {
  std::atomic<int> others = 0;
  const auto run = [&] {
    run_tasks<std::string>(100, [&](int64_t task, std::string&) {
      if (task == 40) throw std::bad_alloc();
      ++others;
    });
  };
  EXPECT_THROW(run(), std::bad_alloc);
  EXPECT_EQ(others, 99);
}

TEST(RunTasks, NoTasksAreNoFault) {
  run_tasks<std::string>(0, [](int64_t, std::string&) { FAIL(); });
}

}  // namespace
}  // namespace qtune
