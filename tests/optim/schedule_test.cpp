// Values worked by hand from transformers' get_{linear,cosine,constant}_schedule_with_warmup.
#include "qtune/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "qtune/base/error.h"

namespace qtune {
namespace {

Schedule make_schedule(ScheduleType type, int64_t warmup_steps) {
  return {.type = type, .peak_learning_rate = 2e-3, .warmup_steps = warmup_steps, .total_steps = 10};
}

TEST(Schedule, WarmupStartsAtZeroAndReachesThePeakBehindItsLastStep) {
  for (const ScheduleType type : {ScheduleType::kConstantWithWarmup, ScheduleType::kLinear, ScheduleType::kCosine}) {
    const Schedule schedule = make_schedule(type, 4);
    EXPECT_DOUBLE_EQ(schedule.at(0), 0);
    EXPECT_DOUBLE_EQ(schedule.at(1), 0.5e-3);
    EXPECT_DOUBLE_EQ(schedule.at(3), 1.5e-3);
    EXPECT_DOUBLE_EQ(schedule.at(4), 2e-3);
  }
}

TEST(Schedule, LinearFallsToZeroAtTheEnd) {
  const Schedule schedule = make_schedule(ScheduleType::kLinear, 4);  // (10 - step) / 6
  EXPECT_DOUBLE_EQ(schedule.at(5), 2e-3 * 5 / 6);
  EXPECT_DOUBLE_EQ(schedule.at(7), 1e-3);
  EXPECT_NEAR(schedule.at(9), 2e-3 / 6, 1e-18);
  EXPECT_DOUBLE_EQ(schedule.at(10), 0);
  EXPECT_DOUBLE_EQ(schedule.at(11), 0) << "never negative";
}

TEST(Schedule, LinearWithoutWarmupStartsAtThePeak) {
  const Schedule schedule = make_schedule(ScheduleType::kLinear, 0);
  EXPECT_DOUBLE_EQ(schedule.at(0), 2e-3);
  EXPECT_DOUBLE_EQ(schedule.at(1), 1.8e-3);
}

TEST(Schedule, CosineFallsAsHalfAWave) {
  const Schedule schedule = make_schedule(ScheduleType::kCosine, 4);  // (1 + cos(pi (step - 4) / 6)) / 2
  EXPECT_DOUBLE_EQ(schedule.at(6), 2e-3 * 0.75);
  EXPECT_DOUBLE_EQ(schedule.at(7), 1e-3);
  EXPECT_DOUBLE_EQ(schedule.at(8), 2e-3 * 0.25);
  EXPECT_NEAR(schedule.at(9), 2e-3 * (1 - std::sqrt(3.0) / 2) / 2, 1e-15);
  EXPECT_NEAR(schedule.at(10), 0, 1e-18);
}

TEST(Schedule, ConstantIgnoresWarmup) {
  const Schedule schedule = make_schedule(ScheduleType::kConstant, 4);
  for (int64_t step = 0; step <= 10; ++step) EXPECT_DOUBLE_EQ(schedule.at(step), 2e-3);
}

TEST(Schedule, ConstantWithWarmupStaysAtThePeak) {
  const Schedule schedule = make_schedule(ScheduleType::kConstantWithWarmup, 4);
  for (int64_t step = 4; step <= 12; ++step) EXPECT_DOUBLE_EQ(schedule.at(step), 2e-3);
}

TEST(Schedule, WarmupAsLongAsTheRunOrLongerDividesByNothing) {
  for (const int64_t warmup : {10, 20}) {
    const Schedule schedule = make_schedule(ScheduleType::kLinear, warmup);
    for (int64_t step = 0; step < 10; ++step) {
      EXPECT_DOUBLE_EQ(schedule.at(step), 2e-3 * static_cast<double>(step) / static_cast<double>(warmup));
    }
  }
}

TEST(Schedule, OneStepRunUsesThePeak) {
  const Schedule schedule{.type = ScheduleType::kCosine, .peak_learning_rate = 2e-3, .total_steps = 1};
  EXPECT_DOUBLE_EQ(schedule.at(0), 2e-3);
}

TEST(ResolveWarmupSteps, StepsWinOverTheRatio) { EXPECT_EQ(resolve_warmup_steps(3, 0.5, 100), 3); }

TEST(ResolveWarmupSteps, RatioIsRoundedUp) {
  EXPECT_EQ(resolve_warmup_steps(0, 0.1, 100), 10);
  EXPECT_EQ(resolve_warmup_steps(0, 0.1, 101), 11);
  EXPECT_EQ(resolve_warmup_steps(0, 0.03, 16), 1);
  EXPECT_EQ(resolve_warmup_steps(0, 0.0, 100), 0);
}

TEST(ParseScheduleType, KnowsTheNamesOfTransformers) {
  EXPECT_EQ(parse_schedule_type("constant"), ScheduleType::kConstant);
  EXPECT_EQ(parse_schedule_type("constant_with_warmup"), ScheduleType::kConstantWithWarmup);
  EXPECT_EQ(parse_schedule_type("linear"), ScheduleType::kLinear);
  EXPECT_EQ(parse_schedule_type("cosine"), ScheduleType::kCosine);
  EXPECT_THROW(parse_schedule_type("cosin"), ConfigError);
  EXPECT_THROW(parse_schedule_type(""), ConfigError);
}

}  // namespace
}  // namespace qtune
