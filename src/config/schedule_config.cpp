#include "qtune/config/schedule_config.h"

#include <map>

namespace qtune {

std::vector<std::string> kwargs_of_schedule(const std::string& lr_scheduler_type) {
  static const std::map<std::string, std::vector<std::string>> kwargs = {
      {"cosine", {"num_cycles"}},
      {"cosine_with_restarts", {"num_cycles"}},
      {"cosine_with_min_lr", {"num_cycles", "min_lr", "min_lr_rate"}},
      {"cosine_warmup_with_min_lr", {"num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"}},
      {"polynomial", {"lr_end", "power"}},
      {"inverse_sqrt", {"timescale"}},
      {"warmup_stable_decay",
       {"num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"}},
  };
  const auto found = kwargs.find(lr_scheduler_type);
  return found == kwargs.end() ? std::vector<std::string>{} : found->second;
}

}  // namespace qtune
