#include "qtune/batch/epoch_order.h"

#include <algorithm>

#include "qtune/base/error.h"
#include "qtune/base/rng.h"

namespace qtune {
namespace {
constexpr uint64_t kDataOrderStream = 0x6f72646572;  // "order": keeps this stream apart from other users of the seed
}

StepSampler::StepSampler(EpochPlan plan, int64_t steps_done) : plan_(plan), steps_done_(steps_done) {
  if (plan_.num_samples < 1 || plan_.samples_per_step < 1) throw Error("StepSampler: expected at least one sample");
}

std::vector<int64_t> StepSampler::next() {
  const int64_t epoch = steps_done_ / plan_.steps_per_epoch(), step = steps_done_ % plan_.steps_per_epoch();
  if (epoch != shuffled_epoch_) {
    order_ = random_permutation(plan_.seed, kDataOrderStream + static_cast<uint64_t>(epoch), plan_.num_samples);
    shuffled_epoch_ = epoch;
  }
  ++steps_done_;
  const int64_t first = step * plan_.samples_per_step;
  const int64_t last = std::min(first + plan_.samples_per_step, plan_.num_samples);
  return {order_.begin() + first, order_.begin() + last};
}

double StepSampler::epoch() const {
  return static_cast<double>(steps_done_) / static_cast<double>(plan_.steps_per_epoch());
}

}  // namespace qtune
