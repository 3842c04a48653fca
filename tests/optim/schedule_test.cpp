// Values worked by hand from transformers' get_{linear,cosine,constant}_schedule_with_warmup; those of the other types
// as transformers 5.23.0 gives them: get_scheduler(name, AdamW(lr=2e-3), 3, 12, kwargs), stepped 13 times.
#include "qtune/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

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

struct TransformersCase {
  const char* name;
  LrSchedulerKwargs kwargs;
  std::vector<double> rates;  // of steps 0, 1, ...
};

TEST(Schedule, EqualsTransformersForEveryTypeAndItsNumbers) {
  const TransformersCase cases[] = {
      {"cosine",
       {.num_cycles = 1.5},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0015, 0.00050000000000000023, 0,
        0.00049999999999999958, 0.0015, 0.002, 0.0015000000000000005, 0.00050000000000000077, 0,
        0.00050000000000000023}},
      {"cosine_with_restarts",
       {},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0019396926207859084, 0.001766044443118978, 0.0015,
        0.0011736481776669307, 0.00082635182233306971, 0.00050000000000000023, 0.00023395555688102211,
        6.0307379214091684e-05, 0, 0}},
      {"cosine_with_restarts",
       {.num_cycles = 3},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0015, 0.00050000000000000023, 0.002,
        0.0015000000000000005, 0.00049999999999999979, 0.002, 0.0014999999999999998, 0.00050000000000000066, 0, 0}},
      {"polynomial",
       {},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0017777888888888891, 0.001555577777777778,
        0.0013333666666666671, 0.0011111555555555557, 0.00088894444444444448, 0.00066673333333333346,
        0.00044452222222222227, 0.00022231111111111124, 9.9999999999999995e-08, 9.9999999999999995e-08}},
      {"polynomial",
       {.lr_end = 0.0002, .power = 2.0},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0016222222222222222, 0.0012888888888888889,
        0.0010000000000000002, 0.00075555555555555565, 0.00055555555555555556, 0.00040000000000000007,
        0.00028888888888888888, 0.00022222222222222226, 0.00020000000000000001, 0.00020000000000000001}},
      {"inverse_sqrt",
       {},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0017320508075688774, 0.0015491933384829668,
        0.001414213562373095, 0.0013093073414159541, 0.0012247448713915889, 0.0011547005383792518,
        0.0010954451150103322, 0.001044465935734187, 0.001, 0.00096076892283052291}},
      {"inverse_sqrt",
       {.timescale = 9},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0018973665961010276, 0.0018090680674665816,
        0.0017320508075688774, 0.0016641005886756876, 0.0016035674514745465, 0.0015491933384829668, 0.0015,
        0.0014552137502179979, 0.001414213562373095, 0.0013764944032233705}},
      {"cosine_with_min_lr",
       {.min_lr = 0.0002},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0019457233587073174, 0.0017894399988070801,
        0.0015500000000000002, 0.0012562833599002374, 0.00094371664009976273, 0.0006500000000000003,
        0.00041056000119291992, 0.00025427664129268253, 0.00020000000000000001, 0.00025427664129268243}},
      {"cosine_with_min_lr",
       {.num_cycles = 0.75, .min_lr_rate = 0.25},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0018995190528383291, 0.0016250000000000001, 0.00125,
        0.00087500000000000024, 0.00060048094716167106, 0.00050000000000000001, 0.00060048094716167095,
        0.00087499999999999969, 0.0012499999999999998, 0.0016250000000000001}},
      {"cosine_warmup_with_min_lr",
       {.min_lr_rate = 0.1},
       {0.00066666666666666664, 0.0013333333333333333, 0.002, 0.0019457233587073174, 0.0017894399988070801,
        0.0015500000000000002, 0.0012562833599002374, 0.00094371664009976273, 0.0006500000000000003,
        0.00041056000119291992, 0.00025427664129268253, 0.00020000000000000001, 0.00025427664129268243,
        0.00041056000119291981}},
      {"cosine_warmup_with_min_lr",
       {.min_lr = 0.0001, .warmup_lr_rate = 0.2},
       {0.00040000000000000002, 0.0012000000000000001, 0.002, 0.0019427079897466131, 0.001777742220963029,
        0.0015249999999999999, 0.001214965768783584, 0.00088503423121641617, 0.00057500000000000021,
        0.00032225777903697095, 0.0001572920102533871, 0.0001, 0.00015729201025338699, 0.00032225777903697089}},
      {"warmup_stable_decay",
       {.num_decay_steps = 4},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.002, 0.002, 0.002, 0.002, 0.002,
        0.0017071067811865474, 0.001, 0.00029289321881345256, 0, 0}},
      {"warmup_stable_decay",
       {.num_stable_steps = 2,
        .num_decay_steps = 3,
        .min_lr_ratio = 0.1,
        .warmup_type = "cosine",
        .decay_type = "1-sqrt"},
       {0.00020000000000000001, 0.00064999999999999997, 0.0015499999999999999, 0.002, 0.002, 0.002,
        0.00096076951545867378, 0.00053030615433009311, 0.00020000000000000001, 0.00020000000000000001,
        0.00020000000000000001, 0.00020000000000000001, 0.00020000000000000001, 0.00020000000000000001}},
      {"warmup_stable_decay",
       {.num_decay_steps = 5, .min_lr_ratio = 0.05, .warmup_type = "1-sqrt", .decay_type = "linear"},
       {0.0001, 0.00044865649623732052, 0.00090303448853971079, 0.002, 0.002, 0.002, 0.002, 0.002,
        0.0016200000000000001, 0.00124, 0.00085999999999999998, 0.0004799999999999999, 0.0001, 0.0001}},
      {"warmup_stable_decay",
       {.num_cycles = 1.0, .num_decay_steps = 6},
       {0, 0.00066666666666666664, 0.0013333333333333333, 0.002, 0.002, 0.002, 0.002, 0.0015, 0.00050000000000000023, 0,
        0.00049999999999999958, 0.0015, 0, 0}},
  };
  for (const TransformersCase& c : cases) {
    const Schedule schedule{.type = parse_schedule_type(c.name),
                            .peak_learning_rate = 2e-3,
                            .warmup_steps = 3,
                            .total_steps = 12,
                            .kwargs = c.kwargs};
    for (size_t step = 0; step < c.rates.size(); ++step) {
      EXPECT_NEAR(schedule.at(static_cast<int64_t>(step)), c.rates[step], 1e-17) << c.name << ", step " << step;
    }
  }
}

TEST(Schedule, NeverDividesByNothing) {
  for (const char* name : {"polynomial", "inverse_sqrt", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
                           "warmup_stable_decay", "cosine_with_restarts"}) {
    for (const double peak : {0.0, 2e-3}) {
      for (const int64_t warmup : {0, 5}) {
        const Schedule schedule{.type = parse_schedule_type(name),
                                .peak_learning_rate = peak,
                                .warmup_steps = warmup,
                                .total_steps = 5,
                                .kwargs = {.min_lr = peak / 2, .num_decay_steps = 0}};
        for (int64_t step = 0; step < 8; ++step) {
          EXPECT_TRUE(std::isfinite(schedule.at(step))) << name << " " << peak << " " << warmup << " " << step;
          EXPECT_LE(schedule.at(step), peak) << name;
        }
      }
    }
  }
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
