#include "qtune/batch/epoch_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "qtune/base/error.h"

namespace qtune {
namespace {

std::vector<int64_t> next_steps(StepSampler& sampler, int64_t num_steps) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < num_steps; ++i) {
    const std::vector<int64_t> step = sampler.next();
    all.insert(all.end(), step.begin(), step.end());
  }
  return all;
}

TEST(StepSampler, EachSampleComesOnceAnEpoch) {
  for (const int64_t n : {1, 2, 7, 8, 100}) {
    for (const int64_t per_step : {1, 3, 8, 1000}) {
      const EpochPlan plan{.num_samples = n, .samples_per_step = per_step};
      StepSampler sampler(plan);
      for (int64_t epoch = 0; epoch < 3; ++epoch) {
        const std::vector<int64_t> seen = next_steps(sampler, plan.steps_per_epoch());
        EXPECT_EQ(static_cast<int64_t>(seen.size()), n) << n << " by " << per_step;
        const std::set<int64_t> distinct(seen.begin(), seen.end());
        EXPECT_EQ(static_cast<int64_t>(distinct.size()), n) << n << " by " << per_step;
        EXPECT_EQ(*distinct.begin(), 0);
        EXPECT_EQ(*distinct.rbegin(), n - 1);
      }
    }
  }
}

TEST(StepSampler, LastSmallerStepIsKept) {
  StepSampler sampler({.num_samples = 7, .samples_per_step = 3});
  std::vector<size_t> sizes;
  for (int i = 0; i < 6; ++i) sizes.push_back(sampler.next().size());
  EXPECT_EQ(sizes, (std::vector<size_t>{3, 3, 1, 3, 3, 1}));
}

TEST(EpochPlan, StepsPerEpochRoundUp) {
  EXPECT_EQ((EpochPlan{.num_samples = 7, .samples_per_step = 3}).steps_per_epoch(), 3);
  EXPECT_EQ((EpochPlan{.num_samples = 6, .samples_per_step = 3}).steps_per_epoch(), 2);
  EXPECT_EQ((EpochPlan{.num_samples = 1, .samples_per_step = 3}).steps_per_epoch(), 1);
}

TEST(StepSampler, ResumedAtAnyStepGoesOnIdentically) {
  const EpochPlan plan{.num_samples = 11, .samples_per_step = 4, .seed = 5};
  for (int64_t done = 0; done <= 8; ++done) {
    StepSampler whole(plan), resumed(plan, done);
    next_steps(whole, done);
    EXPECT_EQ(resumed.steps_done(), done);
    EXPECT_EQ(next_steps(whole, 7), next_steps(resumed, 7)) << "resumed after " << done;
  }
}

TEST(StepSampler, EpochsAndSeedsHaveDifferentOrders) {
  StepSampler one({.num_samples = 50, .samples_per_step = 50, .seed = 1});
  StepSampler two({.num_samples = 50, .samples_per_step = 50, .seed = 2});
  const std::vector<int64_t> first = one.next(), second = one.next(), other = two.next();
  EXPECT_NE(first, second);
  EXPECT_NE(first, other);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST(StepSampler, StepSizeDoesNotChangeTheOrder) {
  StepSampler small({.num_samples = 12, .samples_per_step = 2}), large({.num_samples = 12, .samples_per_step = 12});
  EXPECT_EQ(next_steps(small, 6), large.next());
}

/// The order is part of what a run can be repeated by: a change of it needs a stated cause.
TEST(StepSampler, OrderOfASeedIsTheSameEverywhere) {
  StepSampler sampler({.num_samples = 8, .samples_per_step = 8, .seed = 42});
  EXPECT_EQ(sampler.next(), (std::vector<int64_t>{7, 5, 6, 0, 2, 3, 1, 4}));
}

TEST(StepSampler, EpochIsCountedInStepsDone) {
  StepSampler sampler({.num_samples = 7, .samples_per_step = 3});
  EXPECT_DOUBLE_EQ(sampler.epoch(), 0);
  sampler.next();
  EXPECT_DOUBLE_EQ(sampler.epoch(), 1.0 / 3);
  next_steps(sampler, 2);
  EXPECT_DOUBLE_EQ(sampler.epoch(), 1);
  EXPECT_DOUBLE_EQ(StepSampler({.num_samples = 7, .samples_per_step = 3}, 9).epoch(), 3);
}

TEST(StepSampler, NoSampleOrEmptyStepThrows) {
  EXPECT_THROW(StepSampler({.num_samples = 0, .samples_per_step = 3}), Error);
  EXPECT_THROW(StepSampler({.num_samples = 3, .samples_per_step = 0}), Error);
}

}  // namespace
}  // namespace qtune
