// Numbers of a learning-rate schedule beyond its name: transformers' `lr_scheduler_kwargs`. What they mean:
// optim/schedule.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "qtune/config/config_key.h"

namespace qtune {

/// null: transformers' default for the schedule.
struct LrSchedulerKwargs {
  std::optional<double> num_cycles;
  std::optional<double> min_lr, min_lr_rate, warmup_lr_rate;
  std::optional<double> lr_end, power;
  std::optional<int64_t> timescale;
  std::optional<int64_t> num_stable_steps, num_decay_steps;
  std::optional<double> min_lr_ratio;
  std::optional<std::string> warmup_type, decay_type;

  template <class V>
  void for_each(V& v) {
    v("num_cycles", num_cycles, between(0, 1e6),
      "Waves of the cosine (0.5: falls once); of `cosine_with_restarts` the falls, a whole number.");
    v("min_lr", min_lr, at_least(0), "Learning rate at the end of a cosine.");
    v("min_lr_rate", min_lr_rate, between(0, 1), "The same as a share of learning_rate.");
    v("warmup_lr_rate", warmup_lr_rate, between(0, 1),
      "Where `cosine_warmup_with_min_lr` starts to rise, as a share of learning_rate.");
    v("lr_end", lr_end, at_least(0), "Learning rate at the end of `polynomial`; 1e-7 if null.");
    v("power", power, between(0, 100), "Exponent of `polynomial`; 1 if null.");
    v("timescale", timescale, between(1, 1e12), "Time scale of `inverse_sqrt`; warm-up steps, or 10000, if null.");
    v("num_stable_steps", num_stable_steps, between(0, 1e12), "Steps at the top of `warmup_stable_decay`.");
    v("num_decay_steps", num_decay_steps, between(0, 1e12), "Steps of its fall. Needed there.");
    v("min_lr_ratio", min_lr_ratio, between(0, 1), "Its lowest learning rate, as a share of learning_rate.");
    v("warmup_type", warmup_type, one_of({"linear", "cosine", "1-sqrt"}), "Its rise; linear if null.");
    v("decay_type", decay_type, one_of({"linear", "cosine", "1-sqrt"}), "Its fall; cosine if null.");
  }
};

/// Names of the numbers that a schedule takes; empty for a name without any, or an unknown one.
std::vector<std::string> kwargs_of_schedule(const std::string& lr_scheduler_type);

}  // namespace qtune
