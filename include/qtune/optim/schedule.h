// Learning-rate schedules, as the Hugging Face Trainer names and computes them.
#pragma once

#include <cstdint>
#include <string>

#include "qtune/config/schedule_config.h"

namespace qtune {

enum class ScheduleType {
  kConstant,
  kConstantWithWarmup,
  kLinear,
  kCosine,
  kCosineWithRestarts,
  kCosineWithMinLr,
  kCosineWarmupWithMinLr,
  kPolynomial,
  kInverseSqrt,
  kWarmupStableDecay,
};

/// transformers' name of a schedule: "linear", "cosine", ... Throws: ConfigError naming them.
ScheduleType parse_schedule_type(const std::string& name);

struct Schedule {
  ScheduleType type = ScheduleType::kLinear;
  double peak_learning_rate = 0;
  int64_t warmup_steps = 0;  // kConstant ignores it
  int64_t total_steps = 1;
  LrSchedulerKwargs kwargs = {};  // those of the type; what is null has transformers' default

  /// Rate of the update number `step` (from 0). During warm-up peak * step / warmup_steps, so the first is 0 (the types
  /// with a warm-up of their own apart); then as the type says, down to its end at total_steps.
  double at(int64_t step) const;
};

/// warmup_steps if given (> 0), else ceil(warmup_ratio * total_steps).
int64_t resolve_warmup_steps(int64_t warmup_steps, double warmup_ratio, int64_t total_steps);

}  // namespace qtune
