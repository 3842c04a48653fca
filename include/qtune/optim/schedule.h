// Learning-rate schedules, as the Hugging Face Trainer names and computes them.
#pragma once

#include <cstdint>
#include <string>

namespace qtune {

enum class ScheduleType { kConstant, kConstantWithWarmup, kLinear, kCosine };

/// "constant", "constant_with_warmup", "linear", "cosine". Throws: ConfigError naming them.
ScheduleType parse_schedule_type(const std::string& name);

struct Schedule {
  ScheduleType type = ScheduleType::kLinear;
  double peak_learning_rate = 0;
  int64_t warmup_steps = 0;  // kConstant ignores it
  int64_t total_steps = 1;

  /// Rate of the update number `step` (from 0). During warm-up peak * step / warmup_steps, so the first is 0; then
  /// falls to 0 at total_steps (linear, half a cosine), or stays.
  double at(int64_t step) const;
};

/// warmup_steps if given (> 0), else ceil(warmup_ratio * total_steps).
int64_t resolve_warmup_steps(int64_t warmup_steps, double warmup_ratio, int64_t total_steps);

}  // namespace qtune
