#include "qtune/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "qtune/base/error.h"

namespace qtune {

ScheduleType parse_schedule_type(const std::string& name) {
  if (name == "constant") return ScheduleType::kConstant;
  if (name == "constant_with_warmup") return ScheduleType::kConstantWithWarmup;
  if (name == "linear") return ScheduleType::kLinear;
  if (name == "cosine") return ScheduleType::kCosine;
  throw ConfigError("lr_scheduler_type: expected constant, constant_with_warmup, linear or cosine, found " + name);
}

double Schedule::at(int64_t step) const {
  if (type == ScheduleType::kConstant) return peak_learning_rate;
  if (step < warmup_steps) return peak_learning_rate * static_cast<double>(step) / static_cast<double>(warmup_steps);
  if (type == ScheduleType::kConstantWithWarmup) return peak_learning_rate;
  const double progress =
      static_cast<double>(step - warmup_steps) / static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
  if (type == ScheduleType::kLinear) return peak_learning_rate * std::max(0.0, 1.0 - progress);
  return peak_learning_rate * std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
}

int64_t resolve_warmup_steps(int64_t warmup_steps, double warmup_ratio, int64_t total_steps) {
  if (warmup_steps > 0) return warmup_steps;
  return static_cast<int64_t>(std::ceil(warmup_ratio * static_cast<double>(total_steps)));
}

}  // namespace qtune
