#include "qtune/optim/schedule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "qtune/base/error.h"

namespace qtune {
namespace {

const std::vector<std::pair<std::string, ScheduleType>>& schedule_names() {
  static const std::vector<std::pair<std::string, ScheduleType>> names = {
      {"linear", ScheduleType::kLinear},
      {"cosine", ScheduleType::kCosine},
      {"constant", ScheduleType::kConstant},
      {"constant_with_warmup", ScheduleType::kConstantWithWarmup},
      {"cosine_with_restarts", ScheduleType::kCosineWithRestarts},
      {"cosine_with_min_lr", ScheduleType::kCosineWithMinLr},
      {"cosine_warmup_with_min_lr", ScheduleType::kCosineWarmupWithMinLr},
      {"polynomial", ScheduleType::kPolynomial},
      {"inverse_sqrt", ScheduleType::kInverseSqrt},
      {"warmup_stable_decay", ScheduleType::kWarmupStableDecay},
  };
  return names;
}

double cosine_of(double half_waves) { return 0.5 * (1.0 + std::cos(std::numbers::pi * half_waves)); }

double raised(double factor, double lowest) { return std::max(0.0, factor * (1.0 - lowest) + lowest); }

// All below give the rate as a share of the peak.

double min_lr_share(const Schedule& s) {
  if (s.kwargs.min_lr) return s.peak_learning_rate > 0 ? *s.kwargs.min_lr / s.peak_learning_rate : 0.0;
  return s.kwargs.min_lr_rate.value_or(0.0);
}

double cosine_share(const Schedule& s, double progress) {
  return raised(cosine_of(s.kwargs.num_cycles.value_or(0.5) * 2.0 * progress), min_lr_share(s));
}

double cosine_warmup_share(const Schedule& s, double step, double warmup, double total) {
  if (step >= warmup) return cosine_share(s, (step - warmup + 1.0) / std::max(1.0, total - warmup));
  if (!s.kwargs.warmup_lr_rate) return (step + 1.0) / std::max(1.0, warmup);
  const double first = *s.kwargs.warmup_lr_rate;
  return first + (1.0 - first) * step / std::max(1.0, warmup - 1.0);
}

double polynomial_share(const Schedule& s, double step, double warmup, double total) {
  const double end = s.kwargs.lr_end.value_or(1e-7), range = s.peak_learning_rate - end;
  if (s.peak_learning_rate <= 0) return 0;
  if (step >= total) return end / s.peak_learning_rate;
  const double remaining = 1.0 - (step - warmup) / (total - warmup);
  return (range * std::pow(remaining, s.kwargs.power.value_or(1.0)) + end) / s.peak_learning_rate;
}

double inverse_sqrt_share(const Schedule& s, double step, double warmup) {
  const double scale = s.kwargs.timescale ? static_cast<double>(*s.kwargs.timescale) : warmup > 0 ? warmup : 10000.0;
  return 1.0 / std::sqrt((step + scale - warmup) / scale);
}

double warmup_stable_decay_share(const Schedule& s, int64_t step) {
  const LrSchedulerKwargs& k = s.kwargs;
  const double lowest = k.min_lr_ratio.value_or(0.0);
  if (step < s.warmup_steps) {
    const double progress = static_cast<double>(step) / static_cast<double>(s.warmup_steps);
    const std::string type = k.warmup_type.value_or("linear");
    return raised(type == "cosine"   ? 1.0 - cosine_of(progress)
                  : type == "1-sqrt" ? 1.0 - std::sqrt(1.0 - progress)
                                     : progress,
                  lowest);
  }
  const int64_t decay_steps = k.num_decay_steps.value_or(0);
  const int64_t decay_start =
      s.warmup_steps + k.num_stable_steps.value_or(std::max<int64_t>(0, s.total_steps - s.warmup_steps - decay_steps));
  if (step < decay_start) return 1.0;
  if (step >= decay_start + decay_steps) return lowest;
  const double progress = static_cast<double>(step - decay_start) / static_cast<double>(decay_steps);
  const std::string type = k.decay_type.value_or("cosine");
  return raised(type == "linear"   ? 1.0 - progress
                : type == "1-sqrt" ? 1.0 - std::sqrt(progress)
                                   : cosine_of(k.num_cycles.value_or(0.5) * 2.0 * progress),
                lowest);
}

double share_of_peak(const Schedule& s, int64_t step) {
  const auto now = static_cast<double>(step), warmup = static_cast<double>(s.warmup_steps);
  const auto total = static_cast<double>(s.total_steps);
  if (s.type == ScheduleType::kConstant) return 1.0;
  if (s.type == ScheduleType::kWarmupStableDecay) return warmup_stable_decay_share(s, step);
  if (s.type == ScheduleType::kCosineWarmupWithMinLr) return cosine_warmup_share(s, now, warmup, total);
  if (step < s.warmup_steps) return now / warmup;
  const double progress = (now - warmup) / std::max(1.0, total - warmup);
  switch (s.type) {
    case ScheduleType::kLinear:
      return std::max(0.0, 1.0 - progress);
    case ScheduleType::kCosine:
    case ScheduleType::kCosineWithMinLr:
      return cosine_share(s, progress);
    case ScheduleType::kCosineWithRestarts:
      return progress >= 1.0 ? 0.0 : cosine_of(std::fmod(s.kwargs.num_cycles.value_or(1.0) * progress, 1.0));
    case ScheduleType::kPolynomial:
      return polynomial_share(s, now, warmup, total);
    case ScheduleType::kInverseSqrt:
      return inverse_sqrt_share(s, now, warmup);
    default:
      return 1.0;
  }
}

}  // namespace

ScheduleType parse_schedule_type(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [known_name, type] : schedule_names()) {
    if (name == known_name) return type;
    known.push_back(known_name);
  }
  throw ConfigError(fmt::format("lr_scheduler_type: expected one of {}, found {}", fmt::join(known, ", "), name));
}

double Schedule::at(int64_t step) const { return peak_learning_rate * share_of_peak(*this, step); }

int64_t resolve_warmup_steps(int64_t warmup_steps, double warmup_ratio, int64_t total_steps) {
  if (warmup_steps > 0) return warmup_steps;
  return static_cast<int64_t>(std::ceil(warmup_ratio * static_cast<double>(total_steps)));
}

}  // namespace qtune
