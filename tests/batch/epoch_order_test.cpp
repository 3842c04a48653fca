#include "qtune/batch/epoch_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "qtune/base/error.h"

namespace qtune {
namespace {

TEST(StepSampler, AnEpochHoldsEverySampleOnceAndItsLastStepIsSmaller) {
  StepSampler sampler({.num_samples = 10, .samples_per_step = 4, .seed = 7});
  std::vector<int64_t> seen;
  for (const size_t expected : {4, 4, 2}) {
    const std::vector<int64_t> step = sampler.next();
    EXPECT_EQ(step.size(), expected);
    seen.insert(seen.end(), step.begin(), step.end());
  }
  EXPECT_EQ(sampler.epoch(), 1.0);
  std::sort(seen.begin(), seen.end());
  std::vector<int64_t> all(10);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
}

TEST(StepSampler, EpochsAndSeedsHaveOrdersOfTheirOwn) {
  const auto order = [](uint64_t seed, int64_t steps_done) {
    return StepSampler({.num_samples = 50, .samples_per_step = 50, .seed = seed}, steps_done).next();
  };
  EXPECT_NE(order(7, 0), order(7, 1));
  EXPECT_NE(order(7, 0), order(8, 0));
  EXPECT_EQ(order(7, 1), order(7, 1));
}

TEST(StepSampler, StartedFromACursorItGoesOnAsIfItHadNeverStopped) {
  const EpochPlan plan{.num_samples = 11, .samples_per_step = 3, .seed = 1};
  StepSampler whole(plan);
  for (int64_t done = 0; done < 13; ++done) {
    StepSampler resumed(plan, done);
    EXPECT_EQ(resumed.epoch(), whole.epoch());
    EXPECT_EQ(resumed.next(), whole.next()) << done;
  }
}

TEST(StepSampler, WithoutSamplesItIsAnError) { EXPECT_THROW(StepSampler({.num_samples = 0}), Error); }

}  // namespace
}  // namespace qtune
